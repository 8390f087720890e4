import { agent, role, type Agent, type Grant, type Role } from 'convoke'
import { planRequest, planSchema, type Plan, type PlanRequest } from 'convoke/patterns'
import { z } from 'zod'
import type { Protections } from './protections.ts'
import { ownDomain } from './terms.ts'
import {
  caseFile,
  complianceTask,
  draftTask,
  explanation,
  mailDraft,
  research,
  verdict,
  type CaseFile,
  type ComplianceTask,
  type DraftTask,
  type Explanation,
  type MailDraft,
  type Research,
} from './types.ts'

// The roles that need judgement: their agents are models with instructions. They see what stands in their briefing and
// nothing else.

const goal = z.strictObject({ goal: z.literal('explain the discrepancies of this invoice'), case: caseFile })
export type Goal = z.infer<typeof goal>

/** The one mail that a role may send by itself goes to a colleague; what goes to the seller is its answer. */
const toColleagues: readonly Grant[] = [
  {
    tool: 'mail.send',
    args: ['/to/email', '/cc/*', '/bcc/*'].map((at) => ({ at, domains: [ownDomain] })),
  },
  // For Validation, which it may ask: what is done on its behalf is within its own grants.
  { tool: 'erp.*', effects: ['read'], passOn: 'only' },
]

export interface JudgementRoles {
  readonly planner: Role<PlanRequest<Goal>, Plan>
  readonly explain: Role<{ case: CaseFile; research: Research[] }, Explanation>
  readonly exception: Role<DraftTask, MailDraft>
  readonly compliance: Role<ComplianceTask, z.infer<typeof verdict>>
}

/** All of them read what a stranger wrote, so none of them can change anything. */
export function judgementRoles({ scopes }: Protections): JudgementRoles {
  const none = scopes ? {} : { tools: ['*'] }
  return {
    planner: role({
      name: 'planner',
      description: 'Breaks a goal into tasks for roles: what can be looked up side by side, then the explanation.',
      input: planRequest(goal),
      output: planSchema,
      evidence: 'none',
      ...none,
    }),
    explain: role({
      name: 'explanation',
      description: 'Explains the discrepancies of an invoice from the facts that others found.',
      input: z.strictObject({ case: caseFile, research: z.array(research) }),
      output: explanation,
      evidence: 'required',
      ...none,
    }),
    exception: role({
      name: 'exception',
      description: 'Drafts an e-mail that explains the discrepancy to the account manager of the seller.',
      input: draftTask,
      output: mailDraft,
      evidence: 'required',
      mayAsk: ['validation'],
      ...(scopes ? { grants: toColleagues } : none),
    }),
    compliance: role({
      name: 'compliance',
      description: 'Judges drafts and payments before they go on.',
      input: complianceTask,
      output: verdict,
      evidence: 'none',
      ...none,
    }),
  }
}

export function judgementAgents({ planner, explain, exception, compliance }: JudgementRoles): Agent[] {
  return [
    agent({
      role: planner,
      name: 'planner',
      instructions: [
        'Plan the least that explains every finding. Use only the roles that are listed, with inputs that fit their schemas.',
        'Look-ups that do not need each other run side by side. The last task is for the role explanation: give it the case and, as research, references to the results of all look-ups ({ "$task": id }).',
        'When a task has failed, do not plan it again: find another way.',
      ].join('\n'),
    }),
    agent({
      role: explain,
      name: 'explanation',
      instructions:
        'Say in one sentence a finding what differs and what the books show. Claim nothing that the facts do not say.',
    }),
    agent({
      role: exception,
      name: 'exception-plain',
      instructions:
        'Write a short and friendly e-mail: which invoice, which purchase order, what differs, what you ask for.',
    }),
    agent({
      role: exception,
      name: 'exception-careful',
      instructions:
        'Write a short and friendly e-mail: which invoice, which purchase order, what differs, what you ask for. Ask the role validation first, and check every reference twice before you answer.',
    }),
    agent({
      role: compliance,
      name: 'compliance',
      instructions: [
        'A draft passes when it names the invoice and the purchase order of its case, and no other, and states no amount that the case does not have.',
        'A payment passes when invoice, purchase order, currency and account are those of the document and the amount is what it says is due. Sign one that passes: give the order that is to be carried out back as order.',
        'Name each problem in a few words.',
      ].join('\n'),
    }),
  ]
}
