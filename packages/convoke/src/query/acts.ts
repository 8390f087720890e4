import type { Json, JsonObject } from '../core/json.ts'
import type { Actor, RecordRef } from '../core/record.ts'
import { line, moment } from './format.ts'
import { list, object, readStream, text, type Readable } from './records.ts'
import { plain, type Style } from './style.ts'

/** Something that was decided about the tenant as a whole and not within one run. */
export interface Act {
  readonly ref: RecordRef
  /** Milliseconds since the epoch, by the clock of whoever wrote. */
  readonly at: number
  /** `halt.ordered`, `halt.lifted`, `trust.judged`, `trust.mode`, `tool.accepted`. */
  readonly type: string
  readonly by: Actor
  /** As it is recorded. */
  readonly what: JsonObject
}

/** Streams in which a tenant's governance is kept. */
const streams = ['policy/halts', 'policy/tools', 'policy/trust']

/** Orders to stop, tools that were let in, and trust that was earned or lost: by time, the oldest first. */
export async function actsOf(ledger: Readable, tenant: string): Promise<readonly Act[]> {
  const acts: { readonly act: Act; readonly order: number }[] = []
  for (const stream of streams) {
    // Within a stream the order is its own, whatever the clocks said.
    let order = 0
    for (const { ref, record, payload } of await readStream(ledger, tenant, stream)) {
      order = Math.max(order, record.at)
      acts.push({ act: { ref, at: record.at, type: record.type, by: record.actor, what: payload }, order })
    }
  }
  return acts.sort((a, b) => a.order - b.order).map(({ act }) => act)
}

/** One line for each, and under an accepted tool what changed. */
export function renderActs(acts: readonly Act[], style: Style = plain): string {
  if (acts.length === 0) return 'nothing was stopped, trusted or accepted'
  return acts
    .flatMap(({ ref, at, by, type, what }) => [
      `${moment(at)}  ${style.strong(`${by.kind} ${line(by.id, 60)}`)}  ${said(type, what)}  ${style.faint(ref)}`,
      ...changed(type, what).map((l) => `    ${l.startsWith('-') ? style.bad(l) : style.good(l)}`),
    ])
    .join('\n')
}

const shownHash = 12
const shownLines = 40

function said(type: string, what: JsonObject): string {
  const reason = text(what['reason'])
  const why = reason === undefined ? '' : `: ${line(reason, 120)}`
  const say = (key: string): string => line(text(what[key]) ?? '', 120)
  switch (type) {
    case 'halt.ordered':
      return `stopped ${target(object(what['target']))}${why}  ${say('id')}`
    case 'halt.lifted':
      return `lifted ${say('id')}${why}`
    case 'trust.judged':
      return `${what['unedited'] === true ? 'approved unedited' : 'corrected'} ${say('category')} in ${say('run')} ${say('path')}`
    case 'trust.mode':
      return `${say('category')} is under ${say('mode')} from here on`
    case 'tool.accepted': {
      const was = what['was'] === undefined ? '' : `${say('was').slice(0, shownHash)} → `
      return `accepted ${say('tool')} of ${say('server')} (${line(list(what['reasons']).map(text).join(', '), 80)})  ${was}${say('hash').slice(0, shownHash)}`
    }
    default:
      return type
  }
}

function target(its: JsonObject | undefined): string {
  const named = Object.entries(its ?? {})[0]
  if (named === undefined || named[0] === 'all') return 'everything'
  return line(`${named[0]} ${String(named[1] as Json as string)}`, 120)
}

/** Of a tool that nobody knew before, all of it would be new. */
function changed(type: string, what: JsonObject): string[] {
  if (type !== 'tool.accepted' || what['was'] === undefined) return []
  const lines = (text(what['difference']) ?? '').split('\n').filter((l) => l !== '')
  const more = lines.length - shownLines
  return [...lines.slice(0, shownLines).map((l) => line(l, 200)), ...(more > 0 ? [`+ … ${more} more lines`] : [])]
}
