import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import {
  compactIban,
  extractInvoice,
  type InvoiceDocument,
  type Segment,
} from '../examples/invoices/src/extract/index.ts'

/**
 * How exactly invoices are read: the embedded XML, and the text layer with the attachment ignored, over a folder of
 * real PDFs whose truth.json holds the values of their XML and which of them the page shows.
 */
export type Route = 'xml' | 'text'

/**
 * exact, absent and wrong are scored. `elsewhere` is not: the page shows another value than the XML (or one that the
 * XML has not), and the value read is really on the page; some files of the corpus pair the two carelessly.
 */
export type Verdict = 'exact' | 'absent' | 'wrong' | 'elsewhere' | 'unstated'

export interface Reading {
  readonly file: string
  readonly route: Route
  readonly field: Field
  readonly verdict: Verdict
  readonly got?: string
  readonly truth?: string
}

export const FIELDS = [
  'number',
  'type',
  'date',
  'seller',
  'buyer',
  'currency',
  'net',
  'tax',
  'grand',
  'due',
  'po',
  'iban',
  'lines',
] as const
export type Field = (typeof FIELDS)[number]

interface TruthFile {
  readonly pdf: string
  readonly truth: Readonly<Record<string, string | number | null>>
  readonly visible: Readonly<Record<string, boolean>>
}

/** truth.json says of these whether the page shows them; of the rest the page itself is asked. */
const FLAGGED: readonly Field[] = ['number', 'seller', 'net', 'tax', 'grand', 'due', 'po', 'iban']
const AMOUNTS: readonly Field[] = ['net', 'tax', 'grand', 'due']

export interface ExtractionResult {
  readonly files: number
  readonly readings: readonly Reading[]
  /** Files that were not read at all, or by another route than asked for. */
  readonly failed: readonly string[]
}

export async function runExtraction(dataDir: string): Promise<ExtractionResult> {
  const files = JSON.parse(readFileSync(join(dataDir, 'truth.json'), 'utf8')) as TruthFile[]
  const readings: Reading[] = []
  const failed: string[] = []
  for (const file of files) {
    const bytes = new Uint8Array(readFileSync(join(dataDir, file.pdf)))
    for (const route of ['xml', 'text'] as const) {
      const extracted = await extractInvoice(bytes, { ignoreAttachments: route === 'text' })
      if (!extracted.ok || extracted.source !== route) failed.push(`${file.pdf} (${route})`)
      for (const field of FIELDS) {
        const document = extracted.ok ? extracted.document : { lines: [] }
        readings.push(judge(file, route, field, document, extracted.ok ? extracted.text : []))
      }
    }
  }
  return { files: files.length, readings, failed }
}

function judge(
  file: TruthFile,
  route: Route,
  field: Field,
  document: InvoiceDocument,
  text: readonly Segment[],
): Reading {
  const got = stated(field, field === 'lines' ? document.lines.length || undefined : document[field])
  const truth = stated(field, field === 'date' ? isoOf(file.truth['date']) : file.truth[field] || undefined)
  const base = {
    file: file.pdf,
    route,
    field,
    ...(got === undefined ? {} : { got }),
    ...(truth === undefined ? {} : { truth }),
  }
  const page = compact(text.map((segment) => segment.text).join('\n'))
  const onPage = (value: string): boolean => renderings(field, value).some((form) => page.includes(compact(form)))
  if (truth === got) return { ...base, verdict: truth === undefined ? 'unstated' : 'exact' }
  if (route === 'xml') return { ...base, verdict: got === undefined ? 'absent' : 'wrong' }
  // A profile without lines says nothing of the lines that the page has.
  if (truth === undefined) return { ...base, verdict: field === 'lines' || onPage(got ?? '') ? 'elsewhere' : 'wrong' }
  const shown =
    field === 'type' || field === 'lines' || (FLAGGED.includes(field) ? file.visible[field] === true : onPage(truth))
  if (got === undefined) return { ...base, verdict: shown ? 'absent' : 'unstated' }
  return { ...base, verdict: !shown && onPage(got) ? 'elsewhere' : 'wrong' }
}

/** Values in the form in which they are compared: amounts by value, IBANs without spaces. */
function stated(field: Field, value: string | number | null | undefined): string | undefined {
  if (value === undefined || value === null) return undefined
  if (AMOUNTS.includes(field)) return Number(value).toFixed(2)
  return field === 'iban' ? compactIban(String(value)) : String(value)
}

function isoOf(date: string | number | null | undefined): string | undefined {
  return typeof date === 'string' ? date.replace(/^(\d{4})(\d{2})(\d{2})$/, '$1-$2-$3') : undefined
}

function renderings(field: Field, value: string): string[] {
  if (field === 'date') {
    const [year = '', month = '', day = ''] = value.split('-')
    return [value, `${day}.${month}.${year}`, `${day}/${month}/${year}`, `${month}/${day}/${year}`]
  }
  if (field === 'currency') return value === 'EUR' ? ['EUR', '€'] : [value]
  if (!AMOUNTS.includes(field)) return [value]
  const [whole = '', fraction = ''] = value.split('.')
  const grouped = (mark: string): string => whole.replace(/\B(?=(\d{3})+$)/g, mark)
  return [`${whole},${fraction}`, value, `${grouped('.')},${fraction}`, `${grouped(',')}.${fraction}`]
}

function compact(text: string): string {
  return text.replace(/\s+/g, '')
}

export function share(readings: readonly Reading[], route: Route, verdict: Verdict, field?: Field): number | undefined {
  const scored = readings.filter(
    (reading) => reading.route === route && (field === undefined || reading.field === field) && isScored(reading),
  )
  return scored.length === 0
    ? undefined
    : scored.filter((reading) => reading.verdict === verdict).length / scored.length
}

function isScored(reading: Reading): boolean {
  return reading.verdict === 'exact' || reading.verdict === 'absent' || reading.verdict === 'wrong'
}

function print(result: ExtractionResult): void {
  const { readings } = result
  for (const route of ['xml', 'text'] as const) {
    console.log(`\n${route === 'xml' ? 'Embedded XML' : 'Text layer, attachment ignored'}: ${result.files} files`)
    console.log('field      exact  absent  wrong  elsewhere')
    for (const field of FIELDS) {
      const count = (verdict: Verdict): number =>
        readings.filter((r) => r.route === route && r.field === field && r.verdict === verdict).length
      const cell = (verdict: Verdict, width: number): string => String(count(verdict)).padStart(width)
      const counts = cell('exact', 7) + cell('absent', 8) + cell('wrong', 7) + cell('elsewhere', 11)
      console.log(`${field.padEnd(9)}${counts}`)
    }
    const percent = (verdict: Verdict): string => `${((share(readings, route, verdict) ?? 0) * 100).toFixed(1)} %`
    console.log(`all: exact ${percent('exact')}, absent ${percent('absent')}, wrong ${percent('wrong')}`)
  }
  const shown = readings.filter((r) => r.verdict === 'wrong' || r.verdict === 'absent' || r.verdict === 'elsewhere')
  console.log('\nnot exact:')
  for (const r of shown) {
    console.log(
      `${r.verdict.padEnd(10)}${r.route.padEnd(5)}${r.field.padEnd(9)}${r.file}: ${r.got ?? '-'} (XML: ${r.truth ?? '-'})`,
    )
  }
  for (const name of result.failed) console.log(`not read: ${name}`)
}

function printJson(result: ExtractionResult): void {
  const line = (metric: string, value: number | undefined): void => {
    if (value !== undefined) {
      console.log(JSON.stringify({ workload: 'extraction', system: 'convoke', metric, value, unit: 'share' }))
    }
  }
  for (const route of ['xml', 'text'] as const) {
    for (const verdict of ['exact', 'absent', 'wrong'] as const) {
      line(`${route}.${verdict}`, share(result.readings, route, verdict))
      for (const field of FIELDS) line(`${route}.${verdict}.${field}`, share(result.readings, route, verdict, field))
    }
  }
}

/** The invoices of the test data: from CONVOKE_TEST_DATA, else beside the repository; undefined where there are none. */
export function invoiceData(): string | undefined {
  const root = process.env['CONVOKE_TEST_DATA'] ?? resolve(import.meta.dirname, '../../shared/data')
  const folder = join(root, 'invoices')
  return existsSync(join(folder, 'truth.json')) ? folder : undefined
}

if (import.meta.main) {
  const folder = invoiceData()
  if (folder === undefined) {
    console.error('extraction: skipped, no invoices found (set CONVOKE_TEST_DATA to the folder that holds invoices/)')
  } else {
    const result = await runExtraction(folder)
    if (process.argv.includes('--json')) printJson(result)
    else print(result)
    if (result.failed.length > 0 || result.readings.some((reading) => reading.verdict === 'wrong')) process.exitCode = 1
  }
}
