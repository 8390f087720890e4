import { afterEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { agent } from '../../src/agents/define.ts'
import { role } from '../../src/contracts/role.ts'
import { ConvokeError } from '../../src/core/errors.ts'
import { policy } from '../../src/policy/policy.ts'
import { tool } from '../../src/gateway/tool.ts'
import type { Message, Model, ModelRequest, Part } from '../../src/ports/model.ts'
import { rule, scriptedModel, toolCall } from '../../src/testing/scripted-model.ts'
import type { ScriptedReply } from '../../src/testing/faults.ts'
import { tenant, world, type Cast, type Code, type World } from './world.ts'

const order = z.object({ number: z.string() })
const getOrder = tool({
  name: 'erp.getOrder',
  description: 'An order by number.',
  effect: 'read',
  inputSchema: order,
  execute: ({ number }) => {
    if (number === 'PO-0') throw new ConvokeError('TOOL_FAILED', 'no such order')
    return { number, quantity: '100' }
  },
})
const pay = tool({
  name: 'erp.pay',
  description: 'Pays.',
  effect: 'keyed',
  inputSchema: z.object({}),
  execute: () => 'paid',
})
const check = role({
  name: 'check',
  description: 'Checks an order.',
  input: z.object({ number: z.string() }),
  output: z.object({ quantity: z.string() }),
  evidence: 'required',
  tools: [getOrder],
})

/** Answers in turn, whatever is asked; what was asked is kept. */
function inTurn(
  ...replies: readonly ((request: ModelRequest) => ScriptedReply)[]
): Model & { readonly asked: ModelRequest[] } {
  const asked: ModelRequest[] = []
  const model = scriptedModel({
    id: 'turns',
    rules: [
      rule({
        name: 'next',
        when: () => true,
        reply: (request) => {
          asked.push(structuredClone(request))
          const next = replies[asked.length - 1]
          return next === undefined ? new ConvokeError('MODEL_REFUSED', 'nothing left to say') : next(request)
        },
      }),
    ],
  })
  return { ...model, asked }
}

function says(value: unknown, ...claims: readonly [statement: string, ref: string, quote: string][]): string {
  return JSON.stringify({
    value,
    claims: claims.map(([statement, ref, quote]) => ({ statement, evidence: [{ ref, quote }] })),
  })
}

let open: World | undefined
afterEach(async () => {
  await open?.close()
  open = undefined
})
async function setting(cast: Cast): Promise<World> {
  return (open = await world(cast))
}
const checker = agent({ role: check, instructions: 'Look the order up.' })
const honest = says({ quantity: '100' }, ['100 were ordered', 's2', '"quantity":"100"'])

function results(message: Message | undefined): Part[] {
  return (message?.parts ?? []).filter((part) => part.type === 'tool-result')
}

describe('the loop', () => {
  test('briefing, tool, answer: all of it on record, and the tool answer is evidence', async () => {
    const model = inTurn(
      () => [toolCall('erp.getOrder', { number: 'PO-7' })],
      () => honest,
    )
    const w = await setting({ agents: [checker], tools: [getOrder, pay], model })
    const run = await w.run((r) => r.ask(check, { number: 'PO-7' }))
    expect(run.error).toBeUndefined()
    expect(run.entries.map((e) => `${e.record.type} ${e.record.path ?? ''}`.trim())).toEqual([
      'run.started',
      'run.input',
      'task.requested check/@task',
      'role.resolved check/@role',
      'briefing.shown check/@briefing',
      'step.completed check/model',
      'step.completed check/erp.getOrder',
      'step.completed check/model#2',
      'step.completed check',
      'run.completed',
    ])
    const [first, second] = model.asked
    expect(first!.messages[0]!.parts[0]).toMatchObject({
      text: expect.stringMatching(/^You fill the role check\. Checks an order\./),
    })
    expect(first!.messages[1]!.parts[0]).toMatchObject({
      text: '<segment id="s1" title="input">\n{"number":"PO-7"}\n</segment>',
    })
    expect(first!.tools?.map((t) => t.name)).toEqual(['erp.getOrder'])
    expect(results(second!.messages[3])).toMatchObject([{ output: { segment: 's2', result: { quantity: '100' } } }])
    const calls = run.at('check/erp.getOrder')!
    const outcome = run.value as {
      claims: unknown
      usage: { calls: number; cost: string }
      model: string
      record: string
    }
    expect(outcome.claims).toMatchObject([{ evidence: [{ record: `run/${run.id}@${calls.record.seq}` }] }])
    expect(outcome.usage).toMatchObject({ calls: 2, cost: '0' })
    expect(outcome.model).toBe('scripted/turns')
    expect(calls.record.actor).toMatchObject({ kind: 'agent', id: 'check' })
    expect(run.at('check/model#2')?.payload['messages']).toEqual({
      base: `run/${run.id}@${run.at('check/model')!.record.seq}`,
      added: [`run/${run.id}@${calls.record.seq}#s2`],
    })
    expect(run.at('check')?.record.labels.sources).toEqual(
      expect.arrayContaining(['model:scripted/turns', 'tool:erp.getOrder']),
    )
    expect(run.live.map((e) => e.type)).toContain('model.text')
  })

  test('an unsupported claim goes back with what is missing, is seen live, and is repaired', async () => {
    const bad = says({ quantity: '100' }, ['1,420 were ordered', 's2', '"quantity":"100"'])
    const model = inTurn(
      () => [toolCall('erp.getOrder', { number: 'PO-7' })],
      () => bad,
      () => honest,
    )
    const w = await setting({ agents: [checker], tools: [getOrder], model })
    const run = await w.run((r) => r.ask(check, { number: 'PO-7' }))
    expect(run.value).toMatchObject({ value: { quantity: '100' } })
    const [rejected] = run.all('answer.rejected')
    expect(rejected?.payload).toMatchObject({
      repair: 1,
      of: 2,
      problems: [expect.stringContaining('"1,420" is not in evidence s2')],
    })
    expect(run.live.find((e) => e.type === 'answer.rejected')?.data).toMatchObject({ role: 'check', repair: 1, of: 2 })
    expect(JSON.stringify(model.asked[2]!.messages.at(-1))).toContain('1,420')
  })

  test.each([
    ['malformed JSON', 'I think it is 100.', /no JSON object/],
    ['cut off JSON', '{"value": {"quantity": "10', /not one JSON object/],
    ['a value of the wrong shape', says({ quantity: 100 }), /\/value\/quantity/],
    ['no value', '{"quantity":"100"}', /no member "value"/],
    ['nothing at all', '', /empty/],
  ])('OUTPUT_INVALID after the repairs: %s', async (_, reply, problem) => {
    const model = inTurn(
      () => reply,
      () => reply,
      () => reply,
    )
    const w = await setting({ agents: [checker], tools: [getOrder], model })
    const run = await w.run((r) => r.ask(check, { number: 'PO-7' }))
    expect(run.error).toMatchObject({
      code: 'OUTPUT_INVALID',
      details: { repairs: 2, problems: [expect.stringMatching(problem)] },
    })
    expect(run.all('answer.rejected')).toHaveLength(2)
    expect(run.at('check')?.payload['usage']).toMatchObject({ calls: 3 })
  })

  test('EVIDENCE_INSUFFICIENT after the repairs: a conclusion without evidence', async () => {
    const bare = says({ quantity: '100' })
    const w = await setting({
      agents: [checker],
      tools: [getOrder],
      model: inTurn(
        () => bare,
        () => bare,
        () => bare,
      ),
    })
    const run = await w.run((r) => r.ask(check, { number: 'PO-7' }))
    expect(run.error).toMatchObject({ code: 'EVIDENCE_INSUFFICIENT' })
  })

  test('tool errors are answers that the model sees: bad arguments, unknown tools, out of reach, failures', async () => {
    const model = inTurn(
      () => [
        toolCall('erp.getOrder', '{"number":'),
        toolCall('erp.getOrder', { number: 7 }),
        toolCall('erp.pay', {}),
        toolCall('erp.none', {}),
        toolCall('erp.getOrder', { number: 'PO-0' }),
        toolCall('erp.getOrder', { number: 'PO-7' }),
      ],
      () => says({ quantity: '100' }, ['100 were ordered', 's2', '"quantity":"100"']),
    )
    const w = await setting({ agents: [checker], tools: [getOrder, pay], model })
    const run = await w.run((r) => r.ask(check, { number: 'PO-7' }))
    expect(run.error).toBeUndefined()
    const shown = model.asked[1]!.messages.slice(3).flatMap((m) => results(m)) as {
      isError?: boolean
      output: { code?: string }
    }[]
    expect(shown.map((part) => part.output.code)).toEqual([
      'TOOL_INPUT_INVALID',
      'TOOL_INPUT_INVALID',
      'SCOPE_DENIED',
      'TOOL_UNKNOWN',
      'TOOL_FAILED',
      undefined,
    ])
    expect(shown.map((part) => part.isError === true)).toEqual([true, true, true, true, true, false])
    // Only what was forbidden is told to whoever asked.
    expect((run.value as { denied?: unknown }).denied).toEqual([{ tool: 'erp.pay', code: 'SCOPE_DENIED' }])
    expect(run.entries.filter((e) => e.payload['op'] === 'call').map((e) => e.record.path)).toEqual(
      expect.arrayContaining(['check/erp.getOrder:2', 'check/erp.getOrder:3', 'check/erp.getOrder:4']),
    )
  })

  test('AGENT_EXHAUSTED when the turns are used up', async () => {
    const again = (): ScriptedReply => [toolCall('erp.getOrder', { number: 'PO-7' })]
    const w = await setting({
      agents: [agent({ role: check, instructions: 'Look.', maxTurns: 3 })],
      tools: [getOrder],
      model: inTurn(again, again, again, again),
    })
    const run = await w.run((r) => r.ask(check, { number: 'PO-7' }))
    expect(run.error).toMatchObject({ code: 'AGENT_EXHAUSTED', details: { maxTurns: 3 } })
    expect(run.all('step.completed').filter((e) => e.payload['op'] === 'model')).toHaveLength(3)
  })

  test('MODEL_REFUSED: a refusal of the provider ends the task, unretried', async () => {
    const model = inTurn(() => new ConvokeError('MODEL_REFUSED', 'against the rules'))
    const w = await setting({ agents: [checker], model })
    const run = await w.run((r) => r.ask(check, { number: 'PO-7' }))
    expect(run.error).toMatchObject({ code: 'MODEL_REFUSED' })
    expect(model.asked).toHaveLength(1)
  })

  test('MODEL_RATE_LIMITED, MODEL_UNREACHABLE: retried when the provider says, and noted', async () => {
    const model = inTurn(
      () => new ConvokeError('MODEL_RATE_LIMITED', 'slow down', { details: { retryAfterMs: 30 } }),
      () => new ConvokeError('MODEL_UNREACHABLE', 'gone', { details: { retryAfterMs: 1 } }),
      () => [toolCall('erp.getOrder', { number: 'PO-7' })],
      () => honest,
    )
    const w = await setting({ agents: [checker], tools: [getOrder], model })
    const run = await w.run((r) => r.ask(check, { number: 'PO-7' }))
    expect(run.value).toMatchObject({ value: { quantity: '100' } })
    expect(run.all('model.retrying').map((e) => e.payload['attempt'])).toEqual([1, 2])
  })

  test('a call that waits for a person parks the run; what came before it is not asked again', async () => {
    const hold = policy({ version: '1', rules: [{ tool: 'erp.pay', hold: { category: 'payment' } }] })
    const paying = role({ name: 'pays', input: z.object({}), output: z.object({ done: z.boolean() }), tools: [pay] })
    const model = inTurn(
      () => [toolCall('erp.pay', {})],
      (request) => says({ done: JSON.stringify(request.messages).includes('paid') }),
    )
    const cast = {
      agents: [agent({ role: paying, instructions: 'Pay.' })],
      tools: [pay],
      model,
      gateway: { policy: hold },
    }
    const w = await setting(cast)
    const code: Code = async (r) => (await r.ask(paying, {})).value
    const parked = await w.run(code, 'held')
    expect(parked.status).toBe('parked')
    const [approval] = await w.ledger.approvals({ tenant, status: 'pending', run: 'held' })
    await w.decide(approval!.id, { decision: 'approved' })
    const run = await w.go(code, 'held')
    expect(run.value).toEqual({ done: true })
    expect(model.asked).toHaveLength(2)
  })

  test('MODEL_UNREACHABLE is thrown after the retries', async () => {
    const gone = (): ScriptedReply => new ConvokeError('MODEL_UNREACHABLE', 'gone', { details: { retryAfterMs: 0 } })
    const model = inTurn(gone, gone, gone)
    const w = await setting({ agents: [agent({ role: check, instructions: 'x', settings: { retries: 1 } })], model })
    const run = await w.run((r) => r.ask(check, { number: 'PO-7' }))
    expect(run.error).toMatchObject({ code: 'MODEL_UNREACHABLE' })
    expect(model.asked).toHaveLength(2)
  })

  test('MODEL_UNKNOWN: a model that nobody configured', async () => {
    const w = await setting({ agents: [agent({ role: check, instructions: 'x', model: 'none' })] })
    const run = await w.run((r) => r.ask(check, { number: 'PO-7' }))
    expect(run.error).toMatchObject({ code: 'MODEL_UNKNOWN' })
  })
})
