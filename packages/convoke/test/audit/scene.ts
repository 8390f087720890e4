/**
 * A run with everything that an auditor asks about: a model that reads a document and is sent back once, evidence, a
 * verifier, a payment that a person corrected and approved, a denial, and a document that was attached.
 */
import { z } from 'zod'
import {
  agent,
  convoke,
  decideApproval,
  ConvokeError,
  policy,
  role,
  tool,
  workflow,
  type App,
  type Ledger,
} from '../../src/index.ts'
import { rule, scriptedModel } from '../../src/testing.ts'

const Parsed = z.object({ number: z.string(), total: z.string() })

const getOrder = tool({
  name: 'erp.getOrder',
  description: 'an order',
  effect: 'read',
  inputSchema: z.object({ order: z.string() }),
  outputSchema: z.object({ order: z.string(), quantity: z.number() }),
  execute: async ({ order }) => ({ order, quantity: 100 }),
})
const pay = tool({
  name: 'erp.pay',
  description: 'pays',
  effect: 'keyed',
  categories: ['financial-commitment'],
  inputSchema: z.object({ number: z.string(), amount: z.string() }),
  outputSchema: z.object({ paid: z.string() }),
  execute: async ({ amount }) => ({ paid: amount }),
})
const wipe = tool({
  name: 'erp.deleteAll',
  description: 'deletes everything',
  effect: 'unsafe',
  inputSchema: z.object({}),
  execute: async () => null,
})

const intake = role({ name: 'intake', input: z.object({ text: z.string() }), output: Parsed, evidence: 'required' })
const clerk = role({ name: 'clerk', input: Parsed, output: z.object({ quantity: z.number() }), tools: [getOrder] })
const compliance = role({
  name: 'compliance',
  input: Parsed,
  output: z.object({ ok: z.boolean(), problems: z.array(z.string()) }),
})

/** Says nonsense first, then what it was asked for. */
const reader = scriptedModel({
  id: 'rules',
  rules: [
    rule({
      name: 'repaired',
      when: (request) => request.messages.some((m) => m.role === 'assistant'),
      reply: () =>
        JSON.stringify({
          value: { number: 'INV-1004', total: '1420.00' },
          confidence: 0.9,
          claims: [{ statement: 'the total is 1420.00', evidence: [{ ref: 's1', quote: '1420.00' }] }],
        }),
    }),
    rule({ name: 'first', when: () => true, reply: () => '{"value": {"number": ' }),
  ],
})

export const audited = workflow(
  { name: 'audited', version: '7', input: z.object({ text: z.string() }) },
  async (run, input) => {
    const parsed = await run.ask(intake, input)
    await run.checkpoint('parsed')
    await run.ask(clerk, parsed.value)
    const paid = await run.call(
      pay,
      { number: parsed.value.number, amount: parsed.value.total },
      { businessKey: parsed.value.number, from: [parsed] },
    )
    await run.call(wipe, {}).catch((error: unknown) => {
      if (!(error instanceof ConvokeError) || error.code !== 'POLICY_DENIED') throw error
    })
    // More than stands in a record: it spills.
    await run.step('archive', () => 'x'.repeat(70_000))
    return paid
  },
)

export function auditedApp(store: string): App {
  return convoke({
    store,
    durability: 'process-crash-only',
    workflows: { audited },
    agents: [
      agent({ role: intake, name: 'reader', version: '3', instructions: 'Read it.', model: reader }),
      agent({
        role: clerk,
        run: async (context, { number }) => {
          const order = (await context.call(getOrder, { order: number })) as { quantity: number }
          return { quantity: order.quantity }
        },
      }),
      agent({ role: compliance, run: async () => ({ ok: true, problems: [] }) }),
    ],
    tools: [getOrder, pay, wipe],
    policy: policy({
      version: '12',
      rules: [
        { id: 'large', tool: 'erp.pay', hold: { category: 'payment', group: 'treasury' } },
        { id: 'no-deletes', tool: '*.delete*', deny: 'nothing is deleted' },
      ],
      groups: { treasury: ['ada', 'bob'] },
    }),
  })
}

/** Drives it to its end; ada corrects the amount, which counts as her agreement. */
export async function driveAudited(app: App, id: string): Promise<Ledger> {
  const handle = await app.start(audited, { text: 'Invoice INV-1004, total 1420.00' }, { id, tags: ['q4'] })
  const ledger = await app.ledger()
  for (let i = 0; i < 3; i++) {
    await app.idle()
    for (const row of await ledger.approvals({ tenant: 'local', status: 'pending', run: id }))
      await decideApproval(ledger, {
        tenant: 'local',
        id: row.id,
        decision: 'corrected',
        action: { input: { number: 'INV-1004', amount: '1400.00' }, businessKey: 'INV-1004' },
        by: { kind: 'person', id: 'ada' },
        reason: 'a discount was agreed',
        at: Date.now(),
      })
  }
  await handle.result()
  return ledger
}
