import type { Json, JsonObject, LedgerRecord } from 'convoke'

// Turns records into the lines a person sees. Records, not calls: what is printed has happened and is on disk.

export interface Line {
  readonly who: string
  readonly says: string
}

export interface Caught {
  unsupported: number
  malformed: number
  badDrafts: number
  /** Streams of the runs in which it was found. */
  readonly duplicates: Set<string>
  readonly overdraws: Set<string>
}

type Payload = JsonObject & {
  readonly value?: JsonObject
  readonly error?: { readonly code?: string; readonly message?: string }
}

/** Lines of one run, in order. Counts what the squad caught on the way. */
export function describe(record: LedgerRecord, caught: Caught): Line | undefined {
  const p = (record.payload ?? {}) as Payload
  const path = record.path ?? ''
  switch (record.type) {
    case 'step.completed':
      return completed(record.stream, path, p, caught)
    case 'step.failed':
      return p.error?.code === 'APPROVAL_REJECTED' ? { who: 'rejected', says: p.error.message ?? '' } : undefined
    case 'answer.rejected': {
      const problems = (p['problems'] ?? []) as readonly string[]
      if (problems.some((problem) => /evidence/i.test(problem))) caught.unsupported++
      else caught.malformed++
      return {
        who: path.split('/').at(-2)?.replace(/#.*/, '') ?? '',
        says: `${short(problems[0] ?? '', 60)} → repair ${text(p['repair'])}/${text(p['of'])}`,
      }
    }
    case 'attempt.rolledback': {
      caught.badDrafts++
      const value = (p.value ?? {}) as {
        alternative?: string
        reason?: { details?: { problems?: readonly string[] }; message?: string }
      }
      const why = value.reason?.details?.problems?.[0] ?? value.reason?.message ?? ''
      return { who: 'compliance', says: `${short(why, 60)} → rolled back, trying the next` }
    }
    case 'approval.requested':
      return {
        who: 'waiting',
        says: `${p['category'] === 'external-communication' ? 'e-mail' : 'payment'}, approval ${text(p['id'])}`,
      }
    case 'approval.decided':
      return { who: 'person', says: `${text(p['decision'])} by ${record.actor.id}` }
    default:
      return undefined
  }
}

function completed(stream: string, path: string, p: Payload, caught: Caught): Line | undefined {
  const value = (p.value ?? {}) as JsonObject
  const inner = (value['value'] ?? {}) as JsonObject
  if (p['op'] === 'ask')
    switch (p['target']) {
      case 'intake':
        return inner['readable'] === true
          ? {
              who: 'intake',
              says: `${inner['source'] === 'xml' ? 'XML' : 'text layer'}, ${Object.keys(inner['document'] as object).length} fields`,
            }
          : { who: 'intake', says: `set aside: ${text(inner['code'])}` }
      case 'validation': {
        const findings = (inner['findings'] ?? []) as readonly { kind: string; says: string }[]
        for (const finding of findings) if (finding.kind === 'overdraw') caught.overdraws.add(stream)
        for (const finding of findings) if (finding.kind === 'duplicate') caught.duplicates.add(stream)
        return path.includes('/')
          ? { who: 'validation', says: 'asked again' }
          : {
              who: 'validation',
              says: findings.length === 0 ? `matches ${text(inner['po'])}` : findings.map((f) => f.says).join('; '),
            }
      }
      case 'planner': {
        const tasks = (inner['tasks'] ?? []) as readonly { id: string; needs: readonly string[] }[]
        const first = tasks.filter((task) => task.needs.length === 0).map((task) => task.id)
        const then = tasks.filter((task) => task.needs.length > 0).map((task) => task.id)
        return {
          who: path.includes('#') ? 're-planner' : 'planner',
          says: [first.join(' ∥ '), ...then].filter((part) => part !== '').join(' → '),
        }
      }
      case 'exception':
        return { who: 'exception', says: `drafted: ${text(inner['subject'])}` }
      default:
        return undefined
    }
  if (p['op'] !== 'call') return undefined
  if (value['status'] === 'paid')
    return { who: 'erp', says: `paid ${text(value['amount'])} ${text(value['currency'])}` }
  if (value['status'] === 'credited')
    return { who: 'erp', says: `credited ${text(value['amount'])} ${text(value['currency'])}` }
  if (value['status'] === 'refused') {
    if (value['code'] === 'PO_EXCEEDED') caught.overdraws.add(stream)
    if (value['code'] === 'INVOICE_EXISTS' || value['code'] === 'ALREADY_PAID') caught.duplicates.add(stream)
    return { who: 'erp', says: `refused: ${text(value['code'])}` }
  }
  return undefined
}

/** Text and numbers of a record as they are; anything else is not for a line. */
function text(value: Json | undefined): string {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : ''
}

function short(said: string, max: number): string {
  return said.length <= max ? said : `${said.slice(0, max - 1)}…`
}

/** The invoice number, once a run has read it. */
export function numberIn(record: LedgerRecord): string | undefined {
  const p = (record.payload ?? {}) as Payload
  if (record.type !== 'step.completed' || p['op'] !== 'ask' || p['target'] !== 'intake') return undefined
  const inner = (p.value as { value?: { document?: { number?: string } } } | undefined)?.value
  return inner?.document?.number
}
