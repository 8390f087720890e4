import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { inboxStream } from '../../src/core/projections.ts'
import type { Guardrail } from '../../src/gateway/guardrail.ts'
import { tool, type Tool } from '../../src/gateway/tool.ts'
import { policy, type Policy } from '../../src/policy/policy.ts'
import { person, tenant, world, type Code, type World } from './world.ts'

// R10: what runs is what was approved. Between a person's yes and the moment the call would be made, one thing changes:
// the arguments, the tool, the tenant, the policy, the labels, or the decision itself. Nothing may be sent then.

const runs = process.env['CONVOKE_TEST_LONG'] === '1' ? 1_000 : 150

interface House {
  input: { to: string; body: string }
  version: string
  description: string
  effect: 'unsafe' | 'keyed' | 'idempotent'
  upper: boolean
  policy: Policy
  guardrails: readonly Guardrail[]
  flow: { flow?: 'data' }
  role: string
}

const rules = (version: string, group: string, id: string): Policy =>
  policy({ version, rules: [{ id, tool: 'pay', hold: { category: 'payment', group } }] })

const calm = (): House => ({
  input: { to: 'DE89', body: 'rent' },
  version: '1',
  description: 'pays',
  effect: 'unsafe',
  upper: false,
  policy: rules('1', 'finance', 'all'),
  guardrails: [],
  flow: {},
  role: 'clerk',
})

let house = calm()
const sent: unknown[] = []
let w: World
beforeAll(async () => {
  w = await world(
    {
      get policy() {
        return house.policy
      },
      get guardrails() {
        return house.guardrails
      },
    },
    {
      caller: {
        get role() {
          return house.role
        },
      },
    },
  )
})
afterAll(() => w.close())

const look = tool({
  name: 'look',
  description: 'reads',
  inputSchema: z.object({}),
  effect: 'read',
  execute: () => ({ text: 'from outside' }),
})

function pay(): Tool<{ to: string; body: string }, unknown> {
  const text = house.upper ? z.string().toUpperCase() : z.string()
  return tool({
    name: 'pay',
    description: house.description,
    version: house.version,
    inputSchema: z.object({ to: text, body: text }),
    effect: house.effect,
    execute: (input: unknown) => {
      sent.push(input)
      return null
    },
  })
}

const code: Code = async (r) => {
  await r.call(look, {})
  return r.call(pay(), house.input, house.flow)
}

type Mutation = (run: string, id: string) => Promise<void>
const word = fc.string({ minLength: 1, maxLength: 12, unit: 'grapheme-ascii' })
const approve: Mutation = async (_, id) => w.decide(id, { decision: 'approved' })
const after =
  (change: () => void): Mutation =>
  async (run, id) => {
    await approve(run, id)
    change()
  }
const forged =
  (change: (row: { id: string; actionHash: string }) => object, by: object = person): Mutation =>
  async (run, id) => {
    const row = await w.ledger.approval(tenant, id)
    const payload = { id, decision: 'approved', actionHash: row!.actionHash, ...change(row!) }
    const message = { id: `approval:${id}`, type: 'approval.decided', at: 1, actor: by as typeof person, payload }
    await w.ledger.post({ tenant, stream: inboxStream(run) }, message)
  }

const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  word.filter((s) => s !== 'DE89').map((to) => after(() => (house.input = { ...house.input, to }))),
  word.map((body) => after(() => (house.input = { ...house.input, body: `${body}!` }))),
  word.filter((v) => v !== '1').map((version) => after(() => (house.version = version))),
  word.filter((d) => d !== 'pays').map((description) => after(() => (house.description = description))),
  fc.constantFrom('keyed' as const, 'idempotent' as const).map((effect) => after(() => (house.effect = effect))),
  fc.constant(after(() => (house.upper = true))),
  word.filter((v) => v !== '1').map((version) => after(() => (house.policy = rules(version, 'finance', 'all')))),
  word.filter((id) => id !== 'all').map((id) => after(() => (house.policy = rules('1', 'finance', id)))),
  word.filter((g) => g !== 'finance').map((group) => after(() => (house.policy = rules('1', group, 'all')))),
  fc.constant(after(() => (house.flow = { flow: 'data' }))),
  word.filter((r) => r !== 'clerk').map((role) => after(() => (house.role = role))),
  word.map((body) =>
    after(
      () =>
        (house.guardrails = [
          { name: 'g', tools: 'pay', before: () => ({ redact: { to: 'DE89', body: `${body}?` }, reason: 'x' }) },
        ]),
    ),
  ),
  fc
    .string({ minLength: 64, maxLength: 64, unit: fc.constantFrom(...Array.from('0123456789abcdef')) })
    .map((actionHash) => forged(() => ({ actionHash }))),
  fc.constantFrom('agent', 'model').map((kind) => forged(() => ({}), { kind, id: 'clerk' })),
)

test(`${runs} changes between approval and execution: none is executed`, { timeout: 600_000 }, async () => {
  let n = 0
  await fc.assert(
    fc.asyncProperty(mutation, async (mutate) => {
      house = calm()
      sent.length = 0
      const run = `m${++n}`
      await w.run(code, { id: run })
      const [row] = await w.pending(run)
      await mutate(run, row!.id)
      const { status } = await w.go(code, run)
      expect(sent).toEqual([])
      expect(['parked', 'stopped']).toContain(status)
    }),
    { seed: 20261121, numRuns: runs },
  )
})

test('nothing changed: it is executed, once', async () => {
  house = calm()
  sent.length = 0
  await w.run(code, { id: 'calm' })
  const [row] = await w.pending('calm')
  await approve('calm', row!.id)
  expect([(await w.go(code, 'calm')).status, sent]).toEqual(['done', [{ to: 'DE89', body: 'rent' }]])
})

test('a decision made under another key, of another tenant or store, is none here, though run, path and bytes are the same', async () => {
  house = calm()
  sent.length = 0
  await w.run(code, { id: 'here' })
  const [row] = await w.pending('here')
  const other = await world({ policy: house.policy })
  await other.run(code, { id: 'here' })
  const [theirs] = await other.pending('here')
  expect(theirs!.actionHash).not.toBe(row!.actionHash)
  await other.ledger.post(
    { tenant, stream: inboxStream('here') },
    {
      id: `approval:${theirs!.id}`,
      type: 'approval.decided',
      at: 1,
      actor: person,
      payload: { id: theirs!.id, decision: 'approved', actionHash: row!.actionHash },
    },
  )
  expect([(await other.go(code, 'here')).status, sent]).toEqual(['parked', []])
  await other.close()
})
