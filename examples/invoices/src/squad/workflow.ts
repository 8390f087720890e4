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
import type { Erp, Refusal } from './erp-tools.ts'
import { compliance, exception, explain, planner, type Goal } from './judgement.ts'
import { intake } from './intake.ts'
import type { MailTools } from './mail-tools.ts'
import { researchRoles } from './research.ts'
import {
  inboxFile,
  squadResult,
  type CaseFile,
  type Explanation,
  type Finding,
  type InboxFile,
  type MailDraft,
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

const investigate = supervise<Goal>({
  planner,
  squad: { ...researchRoles, explanation: explain as never },
  maxReplans: 2,
})

/** One invoice from its file to a stated status. */
export function reconcileWorkflow(tools: SquadTools): Workflow<InboxFile, SquadResult> {
  const { erp } = tools
  return workflow(
    { name: 'reconcile-invoice', version: '1', input: inboxFile, output: squadResult },
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
            vendor: facts.vendor.id,
            number: document.number,
            type: document.type === '381' ? ('381' as const) : ('380' as const),
            ...(document.date === undefined ? {} : { date: document.date }),
            ...(document.po === undefined ? {} : { po: document.po }),
            amount: document.grand,
            currency: document.currency,
            document: file.hash,
          },
          { name: 'register', from: [checked] },
        )
        if (registered.status === 'refused' && !findings.some((f) => f.kind === 'duplicate'))
          findings.push(refusalFinding(registered as Refusal, document))
      }
      await run.checkpoint('validated')

      if (findings.length === 0 && facts.payable !== undefined) {
        const paid = await pay(run, tools, document, facts.payable, checked)
        if (paid.status === 'paid') return { ...paid, ...stated }
        findings.push(paid.finding)
      }
      if (document.number === undefined && findings.length === 0)
        return { status: 'exception' as const, reason: 'the invoice states no number', ...stated }
      return { ...(await explainTo(run, tools, document, facts, findings)), ...stated }
    },
  )
}

type Paid =
  { readonly status: 'paid'; readonly reason: string } | { readonly status: 'refused'; readonly finding: Finding }

/** Pays or credits what Compliance has passed; above the limit the gateway holds the call until a person has decided. */
async function pay(
  run: Run,
  { erp }: SquadTools,
  document: InvoiceDocument,
  payable: NonNullable<ValidationResult['payable']>,
  checked: Outcome<ValidationResult>,
): Promise<Paid> {
  const { kind, iban, ...common } = payable
  const verdict = await run.verify(
    'payment',
    { ...common, iban },
    judgedBy({ role: compliance, input: (payment) => ({ what: 'payment' as const, document, payment }) }),
  )
  if (!verdict.ok) return { status: 'refused', finding: { kind: 'refused', says: verdict.problems.join('; ') } }
  const businessKey = `${common.vendor}/${common.invoice}`
  const done =
    kind === 'credit'
      ? await run.call(erp.applyCredit, common, { name: 'credit', businessKey, from: [checked, verdict] })
      : await run.call(
          erp.createPayment,
          { ...common, iban },
          {
            name: 'pay',
            businessKey,
            title: `pay ${common.amount} ${common.currency} for ${common.invoice}`,
            from: [checked, verdict],
            undo: {
              tool: erp.reversePayment as never,
              input: (result) => ({
                payment: (result as { payment: string }).payment,
                reason: 'the run was rolled back',
              }),
            },
          },
        )
  if (done.status === 'refused') return { status: 'refused', finding: refusalFinding(done as Refusal, document) }
  return {
    status: 'paid',
    reason: kind === 'credit' ? `credited ${common.amount} ${common.currency}` : `${common.amount} ${common.currency}`,
  }
}

function refusalFinding(refusal: Refusal, document: InvoiceDocument): Finding {
  const amount = document.due ?? document.grand
  const { open } = refusal as { open?: unknown }
  if (refusal.code === 'PO_EXCEEDED')
    return {
      kind: 'overdraw',
      says: `${amount ?? ''} billed, ${typeof open === 'string' ? open : '0.00'} open on ${document.po ?? ''}`,
      ...(amount === undefined ? {} : { billed: amount }),
      ...(typeof open === 'string' ? { booked: open } : {}),
    }
  if (refusal.code === 'ALREADY_PAID' || refusal.code === 'INVOICE_EXISTS')
    return {
      kind: 'duplicate',
      says: `invoice ${document.number ?? ''} was seen before`,
      ...(document.number === undefined ? {} : { billed: document.number, booked: document.number }),
    }
  return { kind: 'refused', says: `the books refuse it: ${refusal.code}` }
}

/** Investigates, drafts, has the draft verified, and puts it where a person releases it. */
async function explainTo(
  run: Run,
  tools: SquadTools,
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
  }
  await run.board.put(openFindings, about.findings)
  const found = await investigate(run, { goal: 'explain the discrepancies of this invoice', case: about })
  const explained = Object.entries(found.results).findLast(([, outcome]) => outcome.role === 'explanation')?.[1] as
    Outcome<Explanation> | undefined
  const task = {
    case: about,
    explanation: explained?.value ?? { summary: findings.map((f) => f.says).join('; '), facts: [] },
    recipient: facts.vendor?.contact ?? { name: document.seller ?? 'Sir or Madam', email: 'accounts@unknown.example' },
    document,
  }
  const from = explained === undefined ? [] : [explained]
  const verify = attemptVerifier<MailDraft>(
    judgedBy({ role: compliance, input: (draft: MailDraft) => ({ what: 'draft' as const, case: about, draft }) }),
  )
  let draft: Outcome<MailDraft>
  try {
    draft = await run.attempt<Outcome<MailDraft>>(
      'draft',
      {
        plain: (r) => r.ask(exception, task, { agent: 'exception-plain', from }),
        careful: (r) => r.ask(exception, task, { agent: 'exception-careful', from }),
      },
      { verify: (outcome, r) => verify(outcome, r) },
    )
  } catch (error) {
    if (!isConvokeError(error, 'ATTEMPTS_EXHAUSTED')) throw error
    return { status: 'exception', reason: `${reasonOf(findings)}; no draft passed` }
  }
  const mail = { to: task.recipient, subject: draft.value.subject, body: draft.value.body }
  await run.call(tools.mail.draft, mail, { name: 'outbox', from: [draft] })
  await run.checkpoint('drafted')
  try {
    await run.call(tools.mail.send, mail, {
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

export function reasonOf(findings: readonly Finding[]): string {
  return findings.map((f) => `${f.kind}: ${f.says}`).join('; ')
}
