import { policy, type ConvokeOptions, type Ledger, type Model } from 'convoke'
import { makeDocumentTool } from './document-tool.ts'
import { makeErpTools } from './erp-tools.ts'
import { intakeAgent } from './intake.ts'
import { judgementAgents } from './judgement.ts'
import { compare, isDecimal } from './decimals.ts'
import { makeMailTools } from './mail-tools.ts'
import { researchAgents } from './research.ts'
import { validationAgent } from './validation.ts'
import { reconcileWorkflow } from './workflow.ts'

/** Payments above this amount, in the invoice's currency, wait for a person. */
export const paymentLimit = '5000.00'

export interface SquadParts {
  readonly store: string | (() => Promise<Ledger>)
  readonly erpUrl: () => Promise<string>
  readonly outbox: string
  readonly model: Model
}

/** Everything the app is made of: one place that names all of the squad. */
export function squadOptions(parts: SquadParts): ConvokeOptions {
  const erp = makeErpTools(parts.erpUrl)
  const mail = makeMailTools(parts.outbox)
  const read = makeDocumentTool()
  return {
    store: parts.store,
    workflows: { reconcile: reconcileWorkflow({ erp, mail }) },
    agents: [intakeAgent(read), validationAgent(erp), ...researchAgents(erp), ...judgementAgents()],
    tools: [read, ...Object.values(erp), ...Object.values(mail)],
    model: parts.model,
    policy: policy({
      version: '1',
      rules: [
        {
          tool: 'erp.createPayment',
          when: (input) => {
            const { amount } = input as { amount?: string }
            return !isDecimal(amount) || compare(amount, paymentLimit) > 0
          },
          hold: { category: 'financial-commitment', group: 'treasury' },
        },
        { tool: 'mail.send', hold: { category: 'external-communication', group: 'accounts-payable' } },
      ],
    }),
  }
}
