import { rules as preset } from '@secretlint/secretlint-rule-preset-recommend'
import type { Guardrail, TextFinding, TextRule } from 'convoke'
import { guardrail, type RailOptions } from './rail.ts'

// The rules are secretlint's recommended preset. They are asked one by one and not through secretlint's engine, for two
// reasons: the engine keeps a performance mark of each rule of each text for as long as the process lives (17 kB a text
// were measured), and one rule of the preset switches all others off where the text says `secretlint-disable`, which is
// for a file's owner to say and not for whoever writes what we look at.

/** What is used of a secretlint rule. */
interface SecretRule {
  readonly meta: { readonly id: string; readonly type: string }
  create(context: RuleContext, options: object): { file?(source: Source): unknown }
}
interface RuleContext {
  createTranslator(messages: unknown): (id: string, props?: Readonly<Record<string, unknown>>) => Message
  report(found: { readonly message: Message; readonly range: readonly [number, number] }): void
  ignore(): void
  readonly sharedOptions: object
}
interface Message {
  readonly id: string
  readonly props: Readonly<Record<string, unknown>>
}
interface Source {
  readonly content: string
  readonly ext: string
  readonly contentType: 'text'
  readonly hasBOM: false
  readonly filePath: undefined
  readonly physicalFilePath: undefined
  getFilePath(): undefined
  getPhysicalFilePath(): undefined
  indexToPosition(index: number): { readonly line: number; readonly column: number }
  locationToRange(location: unknown): readonly [number, number]
}

const prefix = '@secretlint/secretlint-rule-'

/** Off in the preset, and wanted here: an access key's id is how AWS keys are told. An account's number is no secret. */
const options: Readonly<Record<string, object>> = { aws: { enableIDScanRule: true } }
const notSecret: ReadonlySet<string> = new Set(['AWSAccountID'])

const scanners: readonly (readonly [string, SecretRule])[] = (preset as unknown as readonly SecretRule[])
  .filter(({ meta }) => meta.id !== `${prefix}filter-comments`)
  .map((rule) => [rule.meta.id.replace(prefix, ''), rule])

/** Names of the rules, such as `github`. */
export const secretRules: readonly string[] = scanners.map(([name]) => name)

/** Everything that the rules find. */
export function findSecrets(text: string): readonly TextFinding[] {
  const found: TextFinding[] = []
  const source: Source = {
    content: text,
    ext: '',
    contentType: 'text',
    hasBOM: false,
    filePath: undefined,
    physicalFilePath: undefined,
    getFilePath: () => undefined,
    getPhysicalFilePath: () => undefined,
    indexToPosition: () => ({ line: 1, column: 0 }),
    locationToRange: () => [0, text.length],
  }
  for (const [name, rule] of scanners) {
    const context: RuleContext = {
      createTranslator:
        () =>
        (id, props = {}) => ({ id, props }),
      report: ({ message, range }) => {
        if (!notSecret.has(message.id)) found.push(whole(text, range, message, name))
      },
      ignore: () => undefined,
      sharedOptions: {},
    }
    rule.create(context, options[name] ?? {}).file?.(source)
  }
  return found
}

/** Some rules give the place of the assignment and the length of the value: what they name is taken out whole. */
function whole(text: string, [start, end]: readonly [number, number], { props }: Message, name: string): TextFinding {
  let last = end
  for (const value of Object.values(props)) {
    if (typeof value !== 'string' || value === '') continue
    const at = text.indexOf(value, start)
    if (at >= 0 && at <= end) last = Math.max(last, at + value.length)
  }
  return { start, end: last, kind: `${name} secret` }
}

const begin = /-----BEGIN[A-Z \n\r]{0,40}/g
const end = /-----END[A-Z ]{0,40}-----/g

/** Where a private key has begun that has not ended, or a word that is longer than rules reach. */
function openAt(text: string): number | undefined {
  const began = [...text.matchAll(begin)].at(-1)?.index
  const ended = [...text.matchAll(end)].at(-1)?.index ?? -1
  const word = /[^\s"'`,;<>()[\]{}]*$/.exec(text)?.index ?? text.length
  const long = text.length - word > secretReach ? word : undefined
  const key = began === undefined || ended > began ? undefined : began
  return key === undefined ? long : Math.min(key, long ?? key)
}

/** Longer than any token of the rules, private keys and connection strings apart, which `open` holds. */
const secretReach = 512

export const secretRule: Omit<TextRule, 'act'> = { find: findSecrets, reach: secretReach, open: openAt }

/** Finds keys and tokens of services, private keys, and passwords in addresses, and redacts them unless said. */
export function secretsGuardrail(given: RailOptions = {}): Guardrail {
  return guardrail('secrets', secretRule, given)
}
