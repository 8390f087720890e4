import { randomBytes, randomUUID } from 'node:crypto'
import { afterEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { agent, type Agent } from '../../src/agents/define.ts'
import { forkRun, type ForkOptions } from '../../src/app/fork.ts'
import { role } from '../../src/contracts/role.ts'
import { tool } from '../../src/gateway/tool.ts'
import { rule, scriptedModel } from '../../src/testing/scripted-model.ts'
import { systemClock } from '../../src/system/clock.ts'
import { tenant, world, type Cast, type Code, type Ended, type World } from './world.ts'

const text = z.object({ text: z.string() })
const first = role({ name: 'first', input: text, output: text })
const second = role({ name: 'second', input: text, output: text })
const other = role({ name: 'other', input: text, output: text })
const wait = role({ name: 'wait', input: text, output: text })

/** How often the model was really called. */
function counting() {
  const calls: string[] = []
  const model = scriptedModel({
    id: 'echo',
    rules: [
      rule({
        name: 'echo',
        when: (request) => /You fill the role (\w+)/.exec(JSON.stringify(request.messages))?.[1],
        reply: (request, name) => {
          calls.push(name)
          const said = /\{\\"text\\":\\"([^"\\]*)/.exec(JSON.stringify(request.messages))?.[1] ?? ''
          return JSON.stringify({ value: { text: `${said}+${name}` } })
        },
      }),
    ],
  })
  return { calls, model }
}

const loops = (instructions = 'Echo.'): Agent[] =>
  [first, second, other].map((its) => agent({ role: its, instructions }))
const code: Code = async (r) => {
  const one = await r.ask(first, { text: 'in' })
  await r.checkpoint('begun')
  const free = await r.ask(other, { text: 'free' })
  const two = await r.ask(second, one.value)
  return [one.value.text, free.value.text, two.value.text]
}

let open: World | undefined
afterEach(async () => {
  await open?.close()
  open = undefined
})
async function setting(cast: Cast): Promise<World> {
  return (open = await world(cast))
}
async function fork(w: World, run: string, options: ForkOptions, cast: Cast, its = code): Promise<Ended> {
  const deps = {
    ledger: w.ledger,
    clock: systemClock,
    ids: { next: () => randomUUID(), salt: () => randomBytes(16).toString('hex') },
    redact: <T>(value: T): T => value,
    digestOf: () => undefined,
  }
  return w.go(its, await forkRun(deps, tenant, run, options), cast)
}

describe('R9: what a fork asks again', () => {
  test('nothing when nothing changed; only what depends on it when a result was corrected', async () => {
    const { calls, model } = counting()
    const cast = { agents: loops(), model }
    const w = await setting(cast)
    const run = await w.run(code)
    expect(run.value).toEqual(['in+first', 'free+other', 'in+first+second'])
    calls.length = 0
    const same = await fork(w, run.id, { at: 'begun', reuse: 'unchanged' }, cast)
    expect(same.value).toEqual(run.value)
    expect(calls).toEqual([])
    const set = [{ step: 'first', pointer: '/text', value: 'corrected' }]
    const corrected = await fork(w, run.id, { at: 'begun', reuse: 'unchanged', set }, cast)
    expect(corrected.value).toEqual(['corrected', 'free+other', 'corrected+second'])
    expect(calls).toEqual(['second'])
  })

  test('an edited prompt, another model setting or another version asks again', async () => {
    const { calls, model } = counting()
    const w = await setting({ agents: loops(), model })
    const run = await w.run(code)
    const asked = async (agents: Agent[], use?: Record<string, string>): Promise<string[]> => {
      calls.length = 0
      await fork(
        w,
        run.id,
        { at: 'begun', reuse: 'unchanged', ...(use === undefined ? {} : { use }) },
        { agents, model },
      )
      return [...calls]
    }
    const [a, b, c] = loops() as [Agent, Agent, Agent]
    expect(await asked([a, b, c])).toEqual([])
    expect(await asked([a, agent({ role: second, instructions: 'Echo!' }), c])).toEqual(['second'])
    expect(await asked([a, agent({ role: second, instructions: 'Echo.', settings: { temperature: 0.5 } }), c])).toEqual(
      ['second'],
    )
    const newer = agent({ role: second, instructions: 'Echo, please.', version: '2' })
    expect(await asked([a, b, newer, c])).toEqual([])
    expect(await asked([a, b, newer, c], { second: '2' })).toEqual(['second'])
  })
})

test('R9: an ask depends on the agents of the roles it may ask', async () => {
  const asks = role({ name: 'asks', input: text, output: text, mayAsk: [wait] })
  const asker = agent({ role: asks, run: async (ctx, input) => (await ctx.ask(wait, input)).value })
  const answers = (word: string): Agent => agent({ role: wait, version: word, run: async () => ({ text: 'said' }) })
  const w = await setting({ agents: [asker, answers('1')] })
  const nests: Code = async (r) => {
    await r.checkpoint('begun')
    return (await r.ask(asks, { text: 'x' })).record
  }
  const run = await w.run(nests)
  const again = async (version: string): Promise<boolean> => {
    const forked = await fork(
      w,
      run.id,
      { at: 'begun', reuse: 'unchanged' },
      { agents: [asker, answers(version)] },
      nests,
    )
    return forked.at('asks')?.payload['reused'] === undefined
  }
  expect(await again('1')).toBe(false)
  expect(await again('2')).toBe(true)
})

describe('a task that was begun by a build that is gone', () => {
  const letGo = tool({ name: 'letGo', description: 'Waits.', effect: 'read', inputSchema: text, execute: () => 'gone' })
  const waits = (version: string, name = 'waiter'): Agent =>
    agent({
      role: wait,
      name,
      version,
      run: async (ctx, input) => (await ctx.step('s', () => input)) as { text: string },
    })
  const held: Code = async (r) => (await r.ask(wait, { text: 'x' }, { notBefore: r.now() + 3_500 })).agent

  test('R8, WORKFLOW_CHANGED: an agent that is not there any more stops the run; a new one does not take over', async () => {
    const asking = agent({
      role: wait,
      name: 'waiter',
      run: async (ctx, input) => {
        await ctx.call(letGo, { text: 'a' }, { approval: 'release' })
        return input
      },
    })
    const withTool = role({ name: 'wait', input: text, output: text, tools: [letGo] })
    const w = await setting({ agents: [{ ...asking, role: withTool as never }], tools: [letGo] })
    const asks: Code = async (r) => (await r.ask(withTool, { text: 'x' })).agent
    const parked = await w.run(asks, 'pinned')
    expect(parked.status).toBe('parked')
    const stopped = await w.go(asks, 'pinned', { agents: [{ ...waits('2'), role: withTool as never }], tools: [letGo] })
    expect(stopped.status).toBe('stopped')
    expect(stopped.error).toMatchObject({ code: 'WORKFLOW_CHANGED' })
  })

  test('before it is bound, whoever fills the role then takes it', async () => {
    const w = await setting({ agents: [waits('1')] })
    const parked = await w.run(held, 'held')
    expect(parked.status).toBe('parked')
    await systemClock.sleep(
      Math.max(0, ((await w.ledger.run({ tenant, stream: 'run/held' }))?.due ?? 0) - systemClock.now()),
    )
    const run = await w.go(held, 'held', { agents: [waits('2', 'successor')] })
    expect(run.value).toBe('successor')
  })
})
