import type { ConvokeOptions, Ledger, Model } from 'convoke'
import { makeDocumentTool } from './document-tool.ts'
import { importErp, toolsOf } from './erp-tools.ts'
import { intakeAgent } from './intake.ts'
import { judgementAgents, judgementRoles } from './judgement.ts'
import { makeMailTools } from './mail-tools.ts'
import { readPolicy } from './policy.ts'
import { everything, type Protections } from './protections.ts'
import { researchAgents } from './research.ts'
import { validationAgent } from './validation.ts'
import { reconcileWorkflow } from './workflow.ts'

export interface SquadParts {
  readonly store: string | (() => Promise<Ledger>)
  readonly erpUrl: () => Promise<string>
  readonly outbox: string
  readonly model: Model
}

/** Everything the app is made of: one place that names all of the squad. */
export async function squadOptions(parts: SquadParts, protections: Protections = everything): Promise<ConvokeOptions> {
  const [erp, rules] = await Promise.all([importErp(parts.erpUrl, protections), readPolicy()])
  const mail = makeMailTools(parts.outbox, protections)
  const read = makeDocumentTool()
  const roles = judgementRoles(protections)
  return {
    store: parts.store,
    workflows: { reconcile: reconcileWorkflow({ erp, mail }, roles, protections) },
    agents: [intakeAgent(read), validationAgent(erp), ...researchAgents(erp), ...judgementAgents(roles)],
    tools: [read, ...toolsOf(erp), ...Object.values(mail)],
    model: parts.model,
    ...(protections.policy ? { policy: rules } : {}),
  }
}
