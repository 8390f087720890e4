import type { JsonObject } from '../core/json.ts'
import type { RecordRef } from '../core/record.ts'
import { line } from './format.ts'
import { list, object, text } from './records.ts'
import type { Step } from './steps.ts'

/** Who vouched for a value: a person, a function that the app names and trusts, or nobody but the value's type. */
export interface Voucher {
  readonly kind: 'person' | 'endorser' | 'type'
  /** The person, or the function's name. */
  readonly id?: string
  /** The function's. */
  readonly version?: string
}

/** An act that changed the labels of a value, and who is answerable for it. */
export interface RelabelStory {
  readonly ref: RecordRef
  readonly path: string
  readonly act: 'endorse' | 'declassify'
  readonly by: Voucher
  /** What whoever wrote the workflow says it is for. */
  readonly reason: string
  /** Whether the value was untrusted before and is trusted now. */
  readonly trusted: boolean
  /** Confidentiality labels that were taken off. */
  readonly released: readonly string[]
}

/** The acts recorded at a step's own path; one that was refused changed nothing and is none. */
export function relabelledIn(step: Step): readonly RelabelStory[] {
  return step.entries.flatMap(({ ref, record, payload }) => relabelOf(ref, record.path ?? '', payload) ?? [])
}

/** The act that a record's payload tells of, where it does. */
export function relabelOf(ref: RecordRef, path: string, payload: JsonObject): RelabelStory | undefined {
  const act = payload['op']
  const said = object(payload['relabelled'])
  if ((act !== 'endorse' && act !== 'declassify') || said === undefined) return undefined
  const from = object(said['from'])
  const to = object(said['to'])
  const left = list(to?.['confidentiality'])
  return {
    ref,
    path,
    act,
    by: voucherOf(text(said['by']) ?? ''),
    reason: text(said['reason']) ?? '',
    trusted: from?.['integrity'] === 'untrusted' && to?.['integrity'] === 'trusted',
    released: list(from?.['confidentiality'])
      .filter((label) => !left.includes(label))
      .map(String),
  }
}

/** As the act wrote it: `person:ada`, `endorser:short@2`, `type`. */
function voucherOf(said: string): Voucher {
  const [kind = ''] = said.split(':', 1)
  const rest = said.slice(kind.length + 1)
  if (kind === 'person') return { kind, id: rest }
  if (kind !== 'endorser') return { kind: 'type' }
  const at = rest.lastIndexOf('@')
  return at < 0 ? { kind, id: rest } : { kind, id: rest.slice(0, at), version: rest.slice(at + 1) }
}

/** `ada`, `function short@2`, `its type`. */
function voucherText({ kind, id = '', version }: Voucher): string {
  if (kind === 'type') return 'its type'
  return kind === 'person' ? line(id, 80) : `function ${line(id, 80)}${version === undefined ? '' : `@${version}`}`
}

/** `endorsed by ada: asked for; trusted from here on; without mailbox`. */
export function relabelText({ act, by, reason, trusted, released }: RelabelStory): string {
  const facts = [
    ...(trusted ? ['trusted from here on'] : []),
    ...(released.length === 0 ? [] : [`no longer ${line(released.join(', '), 80)}`]),
  ]
  const why = reason === '' ? '' : `: ${line(reason, 120)}`
  return `${act === 'endorse' ? 'endorsed' : 'declassified'} by ${voucherText(by)}${why}${facts.map((f) => `; ${f}`).join('')}`
}
