import { afterEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { agent } from '../../src/agents/define.ts'
import { role } from '../../src/contracts/role.ts'
import type { ModelRequest } from '../../src/ports/model.ts'
import { faults } from '../../src/testing/faults.ts'
import { rule, scriptedModel, toolCall } from '../../src/testing/scripted-model.ts'
import { world, type Cast, type World } from './world.ts'

const text = z.object({ text: z.string() })
const validation = role({ name: 'validation', input: text, output: z.object({ ok: z.boolean() }) })
const exception = role({ name: 'exception', input: text, output: text, mayAsk: [validation] })
const validator = agent({ role: validation, run: async (_, input) => ({ ok: input.text !== '' }) })

/** Says the last user message back as an answer, and counts how many messages it saw. */
const echo = scriptedModel({
  id: 'echo',
  rules: [
    rule({
      name: 'echo',
      when: (request) => request,
      reply: (_, request: ModelRequest) => JSON.stringify({ value: { text: `saw ${request.messages.length}` } }),
    }),
  ],
})

let open: World | undefined
afterEach(async () => {
  await open?.close()
  open = undefined
})
async function setting(cast: Cast): Promise<World> {
  return (open = await world(cast))
}

describe('who fills a role', () => {
  const plain = agent({ role: exception, name: 'plain', run: async () => ({ text: 'plain' }) })
  const careful = agent({ role: exception, name: 'careful', version: '2', run: async () => ({ text: 'careful' }) })

  test('the first agent, or the one that the ask names; why is on record', async () => {
    const w = await setting({ agents: [plain, careful] })
    const run = await w.run(async (r) => [
      (await r.ask(exception, { text: '' })).agent,
      (await r.ask(exception, { text: '' }, { agent: 'careful' })).agent,
      (await r.ask(exception, { text: '' }, { agent: 'careful@2' })).agent,
    ])
    expect(run.value).toEqual(['plain', 'careful', 'careful'])
    expect(run.all('role.resolved').map((e) => (e.payload['value'] as { rule: string }).rule)).toEqual([
      'first',
      'named',
      'named',
    ])
  })

  test('ROLE_UNFILLED: nobody fills it, or not by that name; an attempt may go on with another', async () => {
    const w = await setting({ agents: [plain] })
    const run = await w.run(async (r) => {
      const alone = await r.ask(validation, { text: '' }).then(
        () => '',
        (e) => (e as { code: string }).code,
      )
      const other = await r.attempt('draft', {
        large: (b) => b.ask(exception, { text: '' }, { agent: 'large' }),
        plain: (b) => b.ask(exception, { text: '' }),
      })
      return [alone, other.agent]
    })
    expect(run.value).toEqual(['ROLE_UNFILLED', 'plain'])
  })

  test('INPUT_INVALID: which field, and why, before anything is asked', async () => {
    const w = await setting({ agents: [plain] })
    const run = await w.run((r) => r.ask(exception, { text: 7 } as never))
    expect(run.error).toMatchObject({ code: 'INPUT_INVALID', details: { issues: [{ pointer: '/text' }] } })
    expect(run.all('role.resolved')).toEqual([])
  })

  test('OUTPUT_INVALID, EVIDENCE_INSUFFICIENT, STEP_FAILED, STEP_UNAWAITED: what code agents do wrong', async () => {
    const strict = role({ name: 'strict', input: text, output: text, evidence: 'required' })
    const returns = (name: string, run: () => Promise<unknown>) => agent({ role: strict, name, run: run as never })
    const w = await setting({
      agents: [
        returns('shape', async () => ({ no: 1 })),
        returns('bare', async () => ({ text: 'x' })),
        returns('throws', async () => Promise.reject(new Error('boom'))),
        agent({ role: validation, name: 'forgets', run: async (ctx) => (void ctx.step('s', () => 1), { ok: true }) }),
      ],
    })
    const run = await w.run(async (r) => {
      const codes: string[] = []
      for (const name of ['shape', 'bare', 'throws', 'forgets'])
        await r
          .ask((name === 'forgets' ? validation : strict) as typeof strict, { text: '' }, { agent: name })
          .catch((e: { code: string }) => codes.push(e.code))
      return codes
    })
    expect(run.value).toEqual(['OUTPUT_INVALID', 'EVIDENCE_INSUFFICIENT', 'STEP_FAILED', 'STEP_UNAWAITED'])
  })
})

describe('agents that ask', () => {
  test('through the orchestrator: the request names who asked, and the answer is evidence', async () => {
    const asking = agent({
      role: exception,
      run: async (ctx, input) => ({ text: String((await ctx.ask(validation, input)).value.ok) }),
    })
    const w = await setting({ agents: [asking, validator] })
    const run = await w.run(async (r) => (await r.ask(exception, { text: 'a' })).value)
    expect(run.value).toEqual({ text: 'true' })
    expect(run.at('exception/validation/@task')?.payload['requester']).toEqual({
      role: 'exception',
      agent: 'exception',
      version: '1',
      path: 'exception',
    })
  })

  test('a model asks a role as it calls a tool', async () => {
    const model = scriptedModel({
      id: 'asks',
      rules: [
        rule({
          name: 'first',
          when: (r: ModelRequest) => r.messages.every((m) => m.role !== 'tool') && r.tools,
          reply: (_, tools: readonly { name: string }[]) => [toolCall(tools[0]!.name, { text: 'x' })],
        }),
        rule({
          name: 'then',
          when: (r) => r.messages.at(-1)?.parts[0],
          reply: (_, part) => JSON.stringify({ value: { text: JSON.stringify('output' in part && part.output) } }),
        }),
      ],
    })
    const w = await setting({ agents: [agent({ role: exception, instructions: 'Ask.' }), validator], model })
    const run = await w.run(async (r) => (await r.ask(exception, { text: 'a' })).value)
    expect(run.value).toEqual({ text: '{"ok":true}' })
    expect(run.at('exception/ask.validation/@role')).toBeDefined()
  })

  test('ASK_NOT_ALLOWED: a role that may not ask, and circles', async () => {
    const lonely = role({ name: 'lonely', input: text, output: text })
    const circle = role({ name: 'circle', input: text, output: text, mayAsk: ['circle'] })
    const w = await setting({
      agents: [
        agent({ role: lonely, run: async (ctx, input) => (await ctx.ask(validation, input), input) }),
        agent({ role: circle, run: async (ctx, input) => (await ctx.ask(circle, input)).value }),
        validator,
      ],
    })
    const run = await w.run(async (r) => {
      const codes: string[] = []
      for (const its of [lonely, circle])
        await r.ask(its, { text: '' }).catch((e: { code: string }) => codes.push(e.code))
      return codes
    })
    expect(run.value).toEqual(['ASK_NOT_ALLOWED', 'ASK_NOT_ALLOWED'])
  })
})

describe('terms of a task', () => {
  const echoes = agent({ role: exception, instructions: 'Echo.' })

  test('a fresh conversation each time; a session goes on where it stood, across replays', async () => {
    const w = await setting({ agents: [echoes], model: echo })
    const run = await w.run(async (r) => {
      const one = await r.ask(exception, { text: 'a' }, { session: 'talk' })
      await r.sleep(30)
      const two = await r.ask(exception, { text: 'b' }, { session: 'talk' })
      const fresh = await r.ask(exception, { text: 'c' })
      return [one, two, fresh].map((o) => o.value.text)
    })
    expect(run.value).toEqual(['saw 2', 'saw 4', 'saw 2'])
    expect(run.all('run.parked').length).toBeGreaterThan(0)
    expect(run.at('exception#2/model')?.payload['messages']).toMatchObject({
      base: `run/${run.id}@${run.at('exception/model')!.record.seq}`,
    })
  })

  test('DEADLINE_PASSED: before it begins, and while the model thinks', async () => {
    const slow = scriptedModel({
      id: 'slow',
      rules: [rule({ name: 'slow', when: () => true, reply: () => faults.delayed(60_000, '') })],
    })
    const w = await setting({ agents: [echoes], model: slow })
    const run = await w.run(async (r) => {
      const codes: string[] = []
      for (const deadline of [r.now() - 1, r.now() + 200])
        await r.ask(exception, { text: '' }, { deadline }).catch((e: { code: string }) => codes.push(e.code))
      return codes
    })
    expect(run.value).toEqual(['DEADLINE_PASSED', 'DEADLINE_PASSED'])
  })

  test('notBefore: work does not begin earlier', async () => {
    const w = await setting({ agents: [validator] })
    const run = await w.run(async (r) => {
      const at = r.now() + 120
      await r.ask(validation, { text: '' }, { notBefore: at, priority: 3 })
      return at
    })
    expect(run.at('validation/@role')!.record.at).toBeGreaterThanOrEqual(run.value as number)
    expect(run.at('validation/@task')?.payload).toMatchObject({ priority: 3 })
  })

  test('BUDGET_EXCEEDED: of the task and of the run, also after a park; nested asks count', async () => {
    const outer = role({ name: 'outer', input: text, output: text, mayAsk: [exception] })
    const nests = agent({
      role: outer,
      run: async (ctx, input) => {
        await ctx.ask(exception, input)
        return (await ctx.ask(exception, input)).value
      },
    })
    const w = await setting({ agents: [echoes, nests], model: echo, budget: { run: { maxTokens: 900 } } })
    const run = await w.run(async (r) => {
      const codes: string[] = []
      await r.ask(outer, { text: '' }, { budget: { maxTokens: 10 } }).catch((e: { code: string }) => codes.push(e.code))
      await r.sleep(30)
      for (let i = 0; i < 10; i++)
        await r.ask(exception, { text: '' }).catch((e: { code: string }) => codes.push(e.code))
      return codes
    })
    const codes = run.value as string[]
    expect(codes.length).toBeGreaterThan(2)
    expect(new Set(codes)).toEqual(new Set(['BUDGET_EXCEEDED']))
    const calls = run.entries.filter((e) => e.payload['op'] === 'model' && e.payload['value'] !== undefined)
    const used = calls
      .map((e) => (e.payload['usage'] as { tokens: { input: number; output: number } }).tokens)
      .reduce((sum, t) => sum + t.input + t.output, 0)
    expect(run.at('outer')?.payload['usage']).toMatchObject({ calls: 1 })
    const last = calls.at(-1)!.payload['usage'] as { tokens: { input: number; output: number } }
    expect(used - last.tokens.input - last.tokens.output).toBeLessThan(900)
    expect(used).toBeGreaterThanOrEqual(900)
  })
})
