import { agent, answer, role, type Agent, type Role } from 'convoke'
import type { DocumentTool } from './document-tool.ts'
import { desk } from './desk.ts'
import { inboxFile, intakeResult, type InboxFile, type IntakeResult } from './types.ts'

export const intake: Role<InboxFile, IntakeResult> = role({
  name: 'intake',
  description: 'Turns a file of the inbox into a typed document. A field that cannot be read is absent.',
  input: inboxFile,
  output: intakeResult,
  evidence: 'optional',
  tools: ['document.read'],
})

const stated = ['number', 'date', 'seller', 'currency', 'grand', 'po'] as const

/** Reading is exact work, so this agent is code: the model is for what needs judgement. */
export function intakeAgent(read: DocumentTool): Agent {
  return agent({
    role: intake,
    name: 'intake-reader',
    run: async (context, file) => {
      const at = desk(context)
      const { value, id, quote } = await at.call(read, file)
      if (!value.ok) return { readable: false as const, code: value.code, reason: value.reason }
      const { document } = value
      for (const field of stated)
        if (document[field] !== undefined)
          at.claim(`${field} is ${document[field]}`, { ref: id, quote: quote('document', field) })
      return answer(
        {
          readable: true as const,
          source: value.source,
          ...(value.profile === undefined ? {} : { profile: value.profile }),
          document,
          notes: value.problems.map((problem) => `${problem.code}: ${problem.reason}`),
        },
        { claims: at.claims },
      )
    },
  })
}
