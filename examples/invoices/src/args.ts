import { parseArgs } from 'node:util'
import { join, resolve } from 'node:path'

export interface Args {
  readonly inbox: string
  readonly store: string
  /** Whether it was named on the command line. */
  readonly ownStore: boolean
  readonly erpData: string
  readonly outbox: string
  readonly out: string | undefined
  readonly ignoreAttachments: boolean
  readonly fresh: boolean
  readonly model: string | undefined
  readonly concurrency: number
  readonly erpPort: number | undefined
  readonly help: boolean
  /** What was said, without what only holds once. */
  readonly words: readonly string[]
}

export const usage = `npm start -- [options]

  --inbox DIR            folder of PDF invoices; the shipped ones unless said
  --out FILE             also write the results as JSON
  --ignore-attachments   read the text layer even where a PDF carries XML
  --store DIR            where the ledger stands; .convoke in this folder unless said
  --erp-data DIR         where the ERP keeps its books; <store>/erp unless said
  --outbox DIR           where drafts go; <store>/outbox unless said
  --model SPEC           auto, anthropic/<model>, openai/<model>, openai-compatible/<model>@<url>;
                         without it (or CONVOKE_MODEL) the scripted model: rules, no key, no charge
  --concurrency N        invoices at once; 4 unless said
  --erp-port N           port of the ERP; a free one unless said
  --fresh                start over: forget what the store, the ERP and the outbox hold
  --help
`

export class UsageError extends Error {}

/** @throws UsageError for what cannot be understood */
export function readArgs(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  cwd: string,
  shipped: string,
): Args {
  let values: ReturnType<typeof parse>['values']
  try {
    values = parse(argv).values
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
  const at = (path: string): string => resolve(cwd, path)
  const store = at(values.store ?? '.convoke')
  const number = (name: string, text: string, min: number, max: number): number => {
    const value = Number(text)
    if (!Number.isSafeInteger(value) || value < min || value > max)
      throw new UsageError(`--${name} takes a whole number from ${min} to ${max}, not ${JSON.stringify(text)}`)
    return value
  }
  return {
    inbox: values.inbox === undefined ? shipped : at(values.inbox),
    store,
    ownStore: values.store !== undefined,
    erpData: values['erp-data'] === undefined ? join(store, 'erp') : at(values['erp-data']),
    outbox: values.outbox === undefined ? join(store, 'outbox') : at(values.outbox),
    out: values.out === undefined ? undefined : at(values.out),
    ignoreAttachments: values['ignore-attachments'] ?? false,
    fresh: values.fresh ?? false,
    model: values.model ?? env['CONVOKE_MODEL'],
    concurrency: number('concurrency', values.concurrency ?? '4', 1, 256),
    erpPort: values['erp-port'] === undefined ? undefined : number('erp-port', values['erp-port'], 1_024, 65_535),
    help: values.help ?? false,
    words: argv.filter((word) => word !== '--fresh'),
  }
}

function parse(argv: readonly string[]) {
  return parseArgs({
    args: [...argv],
    options: {
      inbox: { type: 'string' },
      out: { type: 'string' },
      'ignore-attachments': { type: 'boolean' },
      store: { type: 'string' },
      'erp-data': { type: 'string' },
      outbox: { type: 'string' },
      model: { type: 'string' },
      concurrency: { type: 'string' },
      'erp-port': { type: 'string' },
      fresh: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    },
    allowPositionals: false,
    strict: true,
  })
}
