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
  refused: number
}

type Payload = JsonObject & {
  readonly value?: JsonObject
  readonly error?: { readonly code?: string; readonly message?: string; readonly details?: JsonObject }
}

/** Lines of one run, in order. Counts what the squad caught on the way. */
export function describe(record: LedgerRecord, caught: Caught): Line | undefined {
  const p = (record.payload ?? {}) as Payload
  const path = record.path ?? ''
  switch (record.type) {
    case 'step.completed':
      return completed(record.stream, path, p, caught)
    case 'step.failed':
      return failed(record, p, caught)
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
        says: `${waitsFor[text(p['category'])] ?? 'a call'}, approval ${text(p['id'])}`,
      }
    case 'approval.decided':
      return { who: 'person', says: `${text(p['decision'])} by ${record.actor.id}` }
    default:
      return undefined
  }
}

const waitsFor: Readonly<Record<string, string>> = {
  'external-communication': 'e-mail',
  'financial-commitment': 'payment',
}

function failed(record: LedgerRecord, p: Payload, caught: Caught): Line | undefined {
  if (p.error?.code === 'APPROVAL_REJECTED') return { who: 'rejected', says: p.error.message ?? '' }
  const refused = refusedIn(record)
  if (refused !== undefined) {
    caught.refused++
    return { who: 'refused', says: refused }
  }
  if (p['op'] !== 'endorse' || p.error?.code !== 'FLOW_DENIED') return undefined
  const why = text(p.error.details?.['why'])
  if (/ billed, .* open on /.test(why)) caught.overdraws.add(record.stream)
  return { who: 'books', says: `not endorsed: ${why}` }
}

/** What an agent tried and may not, in a sentence; undefined for every other record. */
export function refusedIn(record: LedgerRecord): string | undefined {
  const p = (record.payload ?? {}) as Payload
  const { code, details, message } = p.error ?? {}
  if (record.type !== 'step.failed' || p['op'] !== 'call' || record.fold === undefined) return undefined
  const tried = `${record.actor.id} tried ${text(p['target'])}`
  switch (code) {
    case 'SCOPE_DENIED':
      return details?.['why'] === undefined
        ? `${tried}, which its role does not have`
        : `${tried}: ${text(details['pointer'])} ${text(details['why'])}`
    case 'FLOW_DENIED':
      return `${tried} on untrusted input, which it does not take`
    case 'POLICY_DENIED':
      return `${tried}: ${text(details?.['rule'])}, ${text(details?.['why'])}`
    case 'GUARDRAIL_DENIED':
      return `${tried}: ${message ?? ''}`
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
  const does = changes[text(p['target'])]
  if (does === undefined) return undefined
  if (value['status'] === 404 || value['status'] === 409) {
    const code = text((value['body'] as JsonObject | undefined)?.['code'])
    if (code === 'PO_EXCEEDED') caught.overdraws.add(stream)
    if (code === 'INVOICE_EXISTS' || code === 'ALREADY_PAID') caught.duplicates.add(stream)
    return { who: 'erp', says: `refused: ${code}` }
  }
  return does === '' ? undefined : { who: 'erp', says: `${does} ${text(value['amount'])} ${text(value['currency'])}` }
}

/** What operations of the ERP do, where that is worth a line. */
const changes: Readonly<Record<string, string>> = {
  'erp.createPayment': 'paid',
  'erp.applyCredit': 'credited',
  'erp.reversePayment': 'took back',
  'erp.registerInvoice': '',
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
