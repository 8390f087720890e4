import { rule, toolCall } from 'convoke/testing'
import type { CaseFile, DraftTask, Finding, Research } from '../types.ts'
import { fills, hasToolResult, inputOf, quote, says, systemOf, wasReturned } from './prompt.ts'

// How the scripted model explains and drafts. It errs on purpose, by what it reads in the case: an amount that no
// evidence has (quantity), broken JSON (tax), a wrong purchase order (price), so that each net is seen to catch.

interface Explaining {
  readonly case: CaseFile
  readonly research: readonly Research[]
}

export const explaining = rule<Explaining>({
  name: 'explain',
  when: (request) => (fills(request, 'explanation') ? inputOf<Explaining>(request) : undefined),
  reply: (_request, { case: about, research }) => {
    const facts = research.flatMap((piece) => piece.facts)
    const claims = [
      ...about.findings.map(claimOf),
      ...facts.map((fact) => ({ statement: fact, evidence: [{ ref: 's1', quote: JSON.stringify(fact) }] })),
    ]
    return says({ summary: about.findings.map((f) => f.says).join('; '), facts }, claims)
  },
})

export const drafting = rule<DraftTask>({
  name: 'draft',
  when: (request) => (fills(request, 'exception') ? inputOf<DraftTask>(request) : undefined),
  reply: (request, task) => {
    const about = task.case
    const careful = systemOf(request).includes('check every reference twice')
    const first = !wasReturned(request)
    const kinds = new Set(about.findings.map((f) => f.kind))
    if (careful && first && !hasToolResult(request) && task.document !== undefined)
      return [toolCall('ask.validation', JSON.stringify({ document: task.document }))]
    const honest = claimsOf(about)
    if (!careful && first && (kinds.has('tax') || kinds.has('total')))
      return says(mailFor(task, about.po ?? ''), honest).slice(0, -40)
    if (!careful && first && kinds.has('quantity'))
      return says(mailFor(task, about.po ?? ''), [
        ...honest,
        { statement: '1,420 were agreed by telephone', evidence: [{ ref: 's1', quote: about.number }] },
      ])
    return says(mailFor(task, !careful && kinds.has('price') ? nextNumber(about.po ?? '') : (about.po ?? '')), honest)
  },
})

function mailFor(task: DraftTask, po: string): { subject: string; body: string; invoice: string; po: string } {
  const about = task.case
  const order = po === '' ? 'no purchase order' : `purchase order ${po}`
  return {
    invoice: about.number,
    po,
    subject: `Your invoice ${about.number}, ${order}`,
    body: [
      `Dear ${task.recipient.name},`,
      '',
      `we cannot pay your invoice ${about.number} (${order}) as it stands:`,
      '',
      ...about.findings.map((f) => `- ${f.says}`),
      '',
      ...(task.explanation.facts.length === 0
        ? []
        : ['Our books show:', '', ...task.explanation.facts.map((fact) => `- ${fact}`), '']),
      'Please send us a corrected invoice, or tell us what we have missed.',
      '',
      'Accounts payable, Nordhafen Supply GmbH',
    ].join('\n'),
  }
}

interface ScriptedClaim {
  readonly statement: string
  readonly evidence: readonly { ref: string; quote: string }[]
}

function claimsOf(about: CaseFile): ScriptedClaim[] {
  return [
    { statement: `invoice ${about.number}`, evidence: [quote('number', about.number)] },
    ...about.findings.map(claimOf),
  ]
}

function claimOf(finding: Finding): ScriptedClaim {
  return { statement: finding.says, evidence: [quote('says', finding.says)] }
}

function nextNumber(po: string): string {
  return po.replace(/\d+$/, (digits) => String(Number(digits) + 1))
}
