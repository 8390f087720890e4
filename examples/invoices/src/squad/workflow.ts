import {
  attemptVerifier,
  boardKey,
  judgedBy,
  workflow,
  isConvokeError,
  type Outcome,
  type Run,
  type Workflow,
} from 'convoke'
import { supervise } from 'convoke/patterns'
import type { InvoiceDocument } from '../extract/index.ts'
import { isRefusal, type Erp, type Refusal } from './erp-tools.ts'
import { type Goal, type JudgementRoles } from './judgement.ts'
import { intake } from './intake.ts'
import type { MailTools } from './mail-tools.ts'
import { borneOut, objection } from './payment-order.ts'
import type { Protections } from './protections.ts'
import { researchRoles } from './research.ts'
import {
  inboxFile,
  squadResult,
  type CaseFile,
  type Explanation,
  type Finding,
  type InboxFile,
  type MailDraft,
  type PaymentOrder,
  type SquadResult,
  type ValidationResult,
} from './types.ts'
import { validation } from './validation.ts'

export interface SquadTools {
  readonly erp: Erp
  readonly mail: MailTools
}

/** What is being explained: shown to whoever looks at the run while it waits. */
export const openFindings = boardKey<readonly Finding[]>('findings')

interface Squad extends SquadTools {
  readonly roles: JudgementRoles
  readonly protections: Protections
}

/** One invoice from its file to a stated status. */
export function reconcileWorkflow(
  tools: SquadTools,
  roles: JudgementRoles,
  protections: Protections,
): Workflow<InboxFile, SquadResult> {
  const { erp } = tools
  const squad = { ...tools, roles, protections }
  return workflow(
    { name: 'reconcile-invoice', version: '2', input: inboxFile, output: squadResult },
    async (run, file) => {
      const parsed = await run.ask(intake, file)
      const read = parsed.value
      if (!read.readable) return { status: 'set-aside' as const, reason: read.code }
      const { document, source } = read
      await run.checkpoint('parsed')

      const checked = await run.ask(validation, { document }, { from: [parsed] })
      const facts = checked.value
      const stated = { source, document }
      const findings = [...facts.findings]

      if (
        facts.vendor !== undefined &&
        document.number !== undefined &&
        document.currency !== undefined &&
        document.grand !== undefined
      ) {
        const registered = await run.call(
          erp.registerInvoice,
          {
            body: {
              vendor: facts.vendor.id,
              number: document.number,
              type: document.type === '381' ? '381' : '380',
              ...(document.date === undefined ? {} : { date: document.date }),
              ...(document.po === undefined ? {} : { po: document.po }),
              amount: document.grand,
              currency: document.currency,
              document: file.hash,
            },
          },
          { name: 'register', from: [checked] },
        )
        if (isRefusal(registered) && !findings.some((f) => f.kind === 'duplicate'))
          findings.push(refusalFinding(registered, document))
      }
      await run.checkpoint('validated')

      if (findings.length === 0 && facts.payable !== undefined) {
        const paid = await pay(run, squad, document, facts.payable, checked)
        if (paid.status === 'paid') return { ...paid, ...stated }
        findings.push(paid.finding)
        // Whoever signed that has been talked into it: a person looks, and nothing more is made of this invoice.
        if (paid.finding.kind === 'payment-order' || paid.finding.kind === 'misled')
          return { ...unanswered(findings), ...stated }
      }
      if (document.number === undefined && findings.length === 0)
        return { status: 'exception' as const, reason: 'the invoice states no number', ...stated }
      return { ...(await explainTo(run, squad, document, facts, findings)), ...stated }
    },
  )
}

type Paid =
  { readonly status: 'paid'; readonly reason: string } | { readonly status: 'refused'; readonly finding: Finding }

/**
 * Pays or credits what Compliance has signed, once the books bear it out; above the limit the gateway holds the call until
 * a person has decided. Nothing of the document decides about the call but through the endorsed order.
 */
async function pay(
  run: Run,
  squad: Squad,
  document: InvoiceDocument,
  { kind, order: proposed }: NonNullable<ValidationResult['payable']>,
  checked: Outcome<ValidationResult>,
): Promise<Paid> {
  const { erp, roles } = squad
  const signed = await run.ask(
    roles.compliance,
    { what: 'payment', document, order: proposed },
    { name: 'payment', from: [checked] },
  )
  const { ok, problems, order } = signed.value
  if (!ok || order === undefined)
    return {
      status: 'refused',
      finding: { kind: 'refused', says: problems.join('; ') || 'Compliance signed no payment order' },
    }
  const sound = await endorsed(run, squad, kind, signed as Outcome<{ order: PaymentOrder }>)
  if ('finding' in sound) return { status: 'refused', finding: sound.finding }
  const { iban, ...common } = sound.order
  const businessKey = `${common.vendor}/${common.invoice}`
  const its = { businessKey, flow: 'data' as const, from: [sound.order] }
  const done =
    kind === 'credit'
      ? await run.call(erp.applyCredit, { body: common }, { ...its, name: 'credit' })
      : await run.call(
          erp.createPayment,
          { body: { ...common, iban } },
          {
            ...its,
            name: 'pay',
            title: `pay ${common.amount} ${common.currency} for ${common.invoice}`,
            undo: {
              tool: erp.reversePayment as never,
              input: (result) => ({
                id: (result as { id: string }).id,
                body: { reason: 'the run was rolled back' },
              }),
            },
          },
        )
  if (isRefusal(done)) return { status: 'refused', finding: refusalFinding(done, document) }
  return {
    status: 'paid',
    reason: kind === 'credit' ? `credited ${common.amount} ${common.currency}` : `${common.amount} ${common.currency}`,
  }
}

/** The signed order as a trusted value, or why it is none: the workflow itself reads the books for what it names. */
async function endorsed(
  run: Run,
  { erp, protections }: Squad,
  kind: 'payment' | 'credit',
  signed: Outcome<{ order: PaymentOrder }>,
): Promise<{ readonly order: PaymentOrder } | { readonly finding: Finding }> {
  const { order } = signed.value
  if (!protections.endorsement) return { order }
  const from = [signed]
  const books = await run.all('books', {
    vendor: (r) => r.call(erp.getVendor, { id: order.vendor }, { from }),
    po: (r) => r.call(erp.getPurchaseOrder, { number: order.po }, { from }),
    payments: (r) => r.call(erp.getOrderPayments, { number: order.po }, { from }),
  })
  const value = { kind, order, ...books }
  try {
    const sound = await run.endorse('payment-order', value, { by: borneOut, reason: 'the books bear it out' })
    return signed.denied === undefined ? sound : { finding: misled(signed) }
  } catch (error) {
    const finding = objection(value)
    if (!isConvokeError(error, 'FLOW_DENIED') || finding === undefined) throw error
    return { finding }
  }
}

/** Whoever tried what it may not has been talked into something, and is not believed in anything else either. */
function misled({ agent }: Outcome<unknown>): Finding {
  return { kind: 'misled', says: `${agent} tried what it may not, and is not believed` }
}

function refusalFinding({ body: refusal }: Refusal, document: InvoiceDocument): Finding {
  const amount = document.due ?? document.grand
  const { open } = refusal
  if (refusal.code === 'PO_EXCEEDED')
    return {
      kind: 'overdraw',
      says: `${amount ?? ''} billed, ${open ?? '0.00'} open on ${document.po ?? ''}`,
      ...(amount === undefined ? {} : { billed: amount }),
      ...(open === undefined ? {} : { booked: open }),
    }
  if (refusal.code === 'ALREADY_PAID' || refusal.code === 'INVOICE_EXISTS')
    return {
      kind: 'duplicate',
      says: `invoice ${document.number ?? ''} was seen before`,
      ...(document.number === undefined ? {} : { billed: document.number, booked: document.number }),
    }
  return { kind: 'refused', says: `the books refuse it: ${refusal.code}` }
}

interface Investigated {
  /** Absent where no plan led there. */
  readonly explained?: Outcome<Explanation> | undefined
  readonly planned: readonly Outcome<unknown>[]
}

/** Has the look-ups planned and made, and the findings explained. */
async function investigate(run: Run, { planner, explain }: JudgementRoles, about: CaseFile): Promise<Investigated> {
  const supervised = supervise<Goal>({
    planner,
    squad: { ...researchRoles, explanation: explain as never },
    maxReplans: 2,
  })
  try {
    const goal: Goal = { goal: 'explain the discrepancies of this invoice', case: about }
    const { results, planned } = await supervised(run, goal)
    const last = Object.values(results).findLast(({ role }) => role === 'explanation')
    return { explained: last as Outcome<Explanation> | undefined, planned }
  } catch (error) {
    if (!isConvokeError(error, 'ATTEMPTS_EXHAUSTED') && !isConvokeError(error, 'PLAN_INVALID')) throw error
    return { planned: [] }
  }
}

/** Investigates, drafts, has the draft verified, and puts it where a person releases it. */
async function explainTo(
  run: Run,
  squad: Squad,
  document: InvoiceDocument,
  facts: ValidationResult,
  findings: readonly Finding[],
): Promise<Pick<SquadResult, 'status' | 'reason'>> {
  const about: CaseFile = {
    number: document.number ?? 'without a number',
    ...(document.seller === undefined ? {} : { seller: document.seller }),
    ...(document.po === undefined ? {} : { po: document.po }),
    ...(document.grand === undefined ? {} : { grand: document.grand }),
    ...(document.currency === undefined ? {} : { currency: document.currency }),
    findings: [...findings],
    ...(document.remarks === undefined ? {} : { remarks: document.remarks }),
  }
  const { mail: mailTools, roles } = squad
  await run.board.put(openFindings, about.findings)
  const { explained, planned } = await investigate(run, roles, about)
  const talked = [...planned, ...(explained === undefined ? [] : [explained])].find((o) => o.denied !== undefined)
  if (talked !== undefined) return unanswered([...findings, misled(talked)])
  const task = {
    case: about,
    explanation: explained?.value ?? { summary: findings.map((f) => f.says).join('; '), facts: [] },
    recipient: facts.vendor?.contact ?? { name: document.seller ?? 'Sir or Madam', email: 'accounts@unknown.example' },
    document,
  }
  const from = explained === undefined ? [] : [explained]
  const verify = attemptVerifier<MailDraft>(
    judgedBy({ role: roles.compliance, input: (draft: MailDraft) => ({ what: 'draft' as const, case: about, draft }) }),
  )
  let draft: Outcome<MailDraft>
  try {
    draft = await run.attempt<Outcome<MailDraft>>(
      'draft',
      {
        plain: (r) => r.ask(roles.exception, task, { agent: 'exception-plain', from }),
        careful: (r) => r.ask(roles.exception, task, { agent: 'exception-careful', from }),
      },
      { verify: (outcome, r) => verify(outcome, r) },
    )
  } catch (error) {
    if (!isConvokeError(error, 'ATTEMPTS_EXHAUSTED')) throw error
    return { status: 'exception', reason: `${reasonOf(findings)}; no draft passed` }
  }
  if (draft.denied !== undefined) return unanswered([...findings, misled(draft)])
  const mail = { to: task.recipient, subject: draft.value.subject, body: draft.value.body }
  await run.call(mailTools.draft, mail, { name: 'outbox', from: [draft] })
  await run.checkpoint('drafted')
  try {
    await run.call(mailTools.send, mail, {
      name: 'send',
      approval: 'external-communication',
      title: `e-mail to ${mail.to.name}: ${mail.subject}`,
      from: [draft],
    })
    return { status: 'exception', reason: `${reasonOf(findings)}; e-mail sent` }
  } catch (error) {
    if (!isConvokeError(error, 'APPROVAL_REJECTED')) throw error
    return { status: 'exception', reason: `${reasonOf(findings)}; e-mail rejected` }
  }
}

/** A person looks at it; to the sender nothing is written. */
function unanswered(findings: readonly Finding[]): Pick<SquadResult, 'status' | 'reason'> {
  return { status: 'exception', reason: `${reasonOf(findings)}; no letter is drafted` }
}

export function reasonOf(findings: readonly Finding[]): string {
  return findings.map((f) => `${f.kind}: ${f.says}`).join('; ')
}
