import { rule } from 'convoke/testing'
import type { ComplianceTask } from '../types.ts'
import { fills, inputOf, says } from './prompt.ts'

/** Compliance by rule: the references and amounts of a draft or payment against its case. */
export const judging = rule<ComplianceTask>({
  name: 'judge',
  when: (request) => (fills(request, 'compliance') ? inputOf<ComplianceTask>(request) : undefined),
  reply: (_request, task) => {
    const problems = task.what === 'draft' ? draftProblems(task) : paymentProblems(task)
    const ok = problems.length === 0
    return says({ ok, problems, ...(ok && task.what === 'payment' ? { order: task.order } : {}) })
  },
})

function draftProblems({ case: about, draft }: Extract<ComplianceTask, { what: 'draft' }>): string[] {
  const problems: string[] = []
  const po = about.po ?? ''
  if (draft.invoice !== about.number || !draft.body.includes(about.number))
    problems.push(`wrong invoice number: ${draft.invoice}`)
  if (draft.po !== po || (po !== '' && !draft.body.includes(po)))
    problems.push(`wrong PO: ${draft.po === '' ? 'none' : draft.po} instead of ${po === '' ? 'none' : po}`)
  return problems
}

function paymentProblems({ document, order }: Extract<ComplianceTask, { what: 'payment' }>): string[] {
  const problems: string[] = []
  const due = document.due ?? document.grand
  if (order.invoice !== document.number) problems.push(`wrong invoice number: ${order.invoice}`)
  if (order.po !== document.po) problems.push(`wrong PO: ${order.po}`)
  if (order.amount !== due) problems.push(`wrong amount: ${order.amount} instead of ${due ?? 'none'}`)
  if (order.currency !== document.currency) problems.push(`wrong currency: ${order.currency}`)
  return problems
}
