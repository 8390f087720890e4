import type { ErrorData } from '../core/errors.ts'
import type { Json, JsonObject } from '../core/json.ts'
import { isInside } from '../core/path.ts'
import type { Actor, RecordRef } from '../core/record.ts'
import { isTerminal, list, object, text, type Entry, type RunRecords } from './records.ts'

/** Under which policy a call was let through, held or told. */
export interface PolicyFact {
  readonly version: string
  /** Of every word of its rules. */
  readonly digest?: string
  readonly outcome?: string
  readonly rules: readonly string[]
}

/** One call of a tool. */
export interface ActionFact {
  readonly path: string
  readonly tool: string
  readonly by: Actor
  /** The role on whose behalf, where one is. */
  readonly role?: string
  /** Its effect class; absent for one that was never sent. */
  readonly effect?: string
  /** As it was sent the last time; where it was not sent, as it was asked for. A blob's hash stands for a long one. */
  readonly action: Json
  readonly sent: readonly {
    readonly ref: RecordRef
    /** Milliseconds since the epoch. */
    readonly at: number
    readonly idempotencyKey: string
    readonly worker: string
  }[]
  /** What is known of its effect. */
  readonly known?: string
  readonly outcome: 'done' | 'failed' | 'open'
  readonly error?: { readonly code: string; readonly message: string }
  /** The record that ended it. */
  readonly ref?: RecordRef
  readonly policy?: PolicyFact
  /** Ids of questions to people about it. */
  readonly approvals: readonly string[]
  readonly labels: Json
}

/** The calls of a run, in the order in which they began. */
export function actionsIn(run: RunRecords): readonly ActionFact[] {
  const byPath = new Map<string, Entry[]>()
  for (const entry of run.all) {
    const { path } = entry.record
    if (path === undefined) continue
    const there = byPath.get(path)
    if (there === undefined) byPath.set(path, [entry])
    else there.push(entry)
  }
  const asks = [...byPath].flatMap(([path, entries]) => {
    const ended = entries.find((e) => isTerminal(e) && e.payload['op'] === 'task')
    return ended === undefined ? [] : { path: path.replace(/\/@[^/]*$/, ''), role: text(ended.payload['role']) ?? '' }
  })
  return [...byPath].flatMap(([path, entries]) => {
    const ended = entries.findLast(isTerminal)
    const dispatched = entries.filter((e) => e.record.type === 'tool.dispatched')
    const asked = entries.findLast((e) => e.record.type === 'approval.requested')
    const isCall =
      ended === undefined
        ? dispatched.length > 0 || asked?.payload['kind'] === 'call' || asked?.payload['kind'] === 'held-effect'
        : ended.payload['op'] === 'call'
    return isCall ? actionAt(path, entries, ended, dispatched, asked, asks) : []
  })
}

function actionAt(
  path: string,
  entries: readonly Entry[],
  ended: Entry | undefined,
  dispatched: readonly Entry[],
  asked: Entry | undefined,
  asks: readonly { readonly path: string; readonly role: string }[],
): ActionFact {
  const sent = dispatched.at(-1)
  const first = (sent ?? ended ?? asked ?? entries[0]) as Entry
  const error = object(ended?.payload['error'])
  const known = text(ended?.payload['effect'])
  const effect = text(sent?.payload['effect'])
  const policy = policyOf(sent ?? ended)
  const tool = text(sent?.payload['tool']) ?? text(ended?.payload['target']) ?? toolIn(asked?.payload['action']) ?? ''
  const inside = asks.filter((ask) => path !== ask.path && isInside(path, ask.path))
  const role = inside.toSorted((a, b) => b.path.length - a.path.length)[0]?.role
  return {
    path,
    tool,
    by: first.record.actor,
    ...(role === undefined ? {} : { role }),
    ...(effect === undefined ? {} : { effect }),
    action: sent?.payload['action'] ?? ended?.payload['input'] ?? asked?.payload['action'] ?? null,
    sent: dispatched.map(({ ref, record, payload }) => ({
      ref,
      at: record.at,
      idempotencyKey: text(payload['idempotencyKey']) ?? '',
      worker: text(payload['worker']) ?? '',
    })),
    ...(known === undefined ? {} : { known }),
    outcome: ended === undefined ? 'open' : error === undefined ? 'done' : 'failed',
    ...(error === undefined ? {} : { error: errorFact(error) }),
    ...(ended === undefined ? {} : { ref: ended.ref }),
    ...(policy === undefined ? {} : { policy }),
    approvals: entries.flatMap((e) => (e.record.type === 'approval.requested' ? (text(e.payload['id']) ?? []) : [])),
    labels: first.record.labels as unknown as Json,
  }
}

function toolIn(action: Json | undefined): string | undefined {
  return text(object(action)?.['tool'])
}

/** What the rules said of a call; of one that was denied, the error says it. */
function policyOf(entry: Entry | undefined): PolicyFact | undefined {
  const ruled = object(entry?.payload['policy'])
  if (ruled !== undefined)
    return {
      version: text(ruled['version']) ?? '',
      ...(text(ruled['digest']) === undefined ? {} : { digest: text(ruled['digest']) as string }),
      ...(text(ruled['outcome']) === undefined ? {} : { outcome: text(ruled['outcome']) as string }),
      rules: list(ruled['rules']).map(String),
    }
  const error = object(entry?.payload['error'])
  const details = object(error?.['details'])
  if (error?.['code'] !== 'POLICY_DENIED' || details === undefined) return undefined
  return { version: text(details['policy']) ?? '', outcome: 'deny', rules: [text(details['rule']) ?? ''] }
}

export function errorFact(error: JsonObject): { readonly code: string; readonly message: string } {
  const { code, message } = error as unknown as ErrorData
  return { code: String(code), message: String(message) }
}
