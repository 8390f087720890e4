import { type Json, type JsonObject, type LedgerRecord, type RunEvent } from 'convoke'
import { brief, line, moment, waitsFor, type Style } from 'convoke/views'

/** What a record tells a person who watches: where, and what. Undefined for what only the machinery needs. */
export interface Told {
  readonly where: string
  readonly what: string
}

function text(value: Json | undefined): string | undefined {
  return typeof value === 'string' ? value : undefined
}

function object(value: Json | undefined): JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : {}
}

/** The step's name as people know it, without the machinery's notes. */
function placeOf(record: LedgerRecord): string {
  const path = (record.path ?? '').replace(/~(committed|rolledback)$/, '').replace(/\/@[^/]*$/, '')
  return path === '' ? 'run' : decodeURIComponent(path).replaceAll('/', ' › ')
}

export function tell(record: LedgerRecord, style: Style): Told | undefined {
  const p = (record.payload ?? {}) as JsonObject
  const told = (what: string): Told => ({ where: placeOf(record), what })
  switch (record.type) {
    case 'run.started':
      return told(`${text(p['workflow']) ?? ''}@${text(p['version']) ?? ''} started`)
    case 'run.completed':
      return told(`${style.good('done')}${p['value'] === undefined ? '' : `  ${brief(p['value'], 100)}`}`)
    case 'run.failed':
    case 'run.cancelled':
      return told(errorText(p['error'], style))
    case 'run.stopped':
      return told(errorText(p, style))
    case 'run.continued':
      return told(`goes on as ${text(p['next']) ?? ''}`)
    case 'run.parked':
      return told(
        `waits for ${waitsFor(text(p['kind']) ?? '')}` +
          (typeof p['next'] === 'number' ? `, until ${moment(p['next'])} UTC at most` : ''),
      )
    case 'run.adopted':
      return told('goes on with newer code')
    case 'checkpoint.reached':
      return { where: placeOf(record), what: style.faint('checkpoint') }
    case 'step.completed':
      return completed(p, told, style)
    case 'step.failed':
      return p['op'] === 'model' ? undefined : told(errorText(p['error'], style))
    case 'step.retrying':
    case 'model.retrying':
    case 'tool.retrying':
      return told(`tried again: ${line(text(object(p['error'])['message']) ?? '', 100)}`)
    case 'answer.rejected':
      return told(
        `${style.warn('answer sent back')} ${brief(p['repair'])}/${brief(p['of'])}: ${line(problems(p), 120)}`,
      )
    case 'attempt.rolledback': {
      const reason = object(object(p['value'])['reason'])
      return told(`${style.warn('rolled back')}: ${line(text(reason['message']) ?? '', 120)}`)
    }
    case 'attempt.committed':
      return told(style.good('kept'))
    case 'approval.requested':
      return told(`${style.warn('asks')} ${line(text(p['title']) ?? '', 80)}  approval ${text(p['id']) ?? ''}`)
    case 'approval.decided':
      return told(`${text(p['decision']) ?? 'decided'} by ${record.actor.id}`)
    case 'approval.escalated':
      return told(`passed on to ${text(p['group']) ?? ''}`)
    case 'approval.expired':
      return told(style.bad('nobody decided in time'))
    default:
      return undefined
  }
}

function completed(p: JsonObject, told: (what: string) => Told, style: Style): Told | undefined {
  switch (p['op']) {
    case 'model':
    case 'sleep':
      return undefined
    case 'ask':
      return told(brief(object(p['value'])['value'], 100))
    case 'verify': {
      const verdict = object(p['value'])
      return verdict['ok'] === true
        ? told(style.faint('passed'))
        : told(`${style.warn('rejected')} by ${text(verdict['by']) ?? ''}: ${line(problems(verdict), 120)}`)
    }
    default:
      return told(p['value'] === undefined ? style.faint('done') : brief(p['value'], 100))
  }
}

function problems(p: JsonObject): string {
  const list = Array.isArray(p['problems']) ? (p['problems'] as readonly Json[]) : []
  return list.map((item) => text(item) ?? text(object(item)['message']) ?? '').join('; ')
}

function errorText(error: Json | undefined, style: Style): string {
  const data = object(error)
  return `${style.bad(text(data['code']) ?? 'failed')}  ${line(text(data['message']) ?? '', 160)}`
}

type LiveEvent = Extract<RunEvent, { readonly kind: 'live' }>['event']

/** What a live event of this process tells: what code logs and tools report, not each word of a model. */
export function tellLive(event: LiveEvent): Told | undefined {
  const data = object(event.data)
  const path = text(data['path']) ?? event.path
  const where = path === '' ? 'run' : decodeURIComponent(path).replaceAll('/', ' › ')
  if (event.type === 'log') {
    const more = data['data'] === undefined ? '' : `  ${brief(data['data'], 80)}`
    return { where, what: line(text(data['message']) ?? '', 160) + more }
  }
  return event.type === 'tool.progress' ? { where, what: brief(data['data'], 120) } : undefined
}

/** `00:05` since the beginning, in minutes and seconds. */
export function stamp(ms: number): string {
  const s = Math.max(0, Math.floor(ms / 1000))
  return `${String(Math.floor(s / 60)).padStart(2, '0')}:${String(s % 60).padStart(2, '0')}`
}

/** One line of progress. `run` is given where several are watched at once. */
export function progressLine(told: Told, ms: number, style: Style, run?: string): string {
  const where = told.where.length > 32 ? `…${told.where.slice(-31)}` : told.where.padEnd(18)
  return `${style.faint(stamp(ms))}  ${run === undefined ? '' : `${style.faint(run)}  `}${where}  ${told.what}`
}
