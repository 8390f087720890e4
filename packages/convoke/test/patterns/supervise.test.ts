import { afterEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { agent } from '../../src/agents/define.ts'
import { role, squad } from '../../src/contracts/role.ts'
import { ConvokeError } from '../../src/core/errors.ts'
import type { Plan, PlanRequest } from '../../src/patterns/plan.ts'
import { planRequest, planSchema } from '../../src/patterns/plan-schema.ts'
import { supervise } from '../../src/patterns/supervise.ts'
import { rule, scriptedModel } from '../../src/testing/scripted-model.ts'
import { world, type Cast, type World } from '../agents/world.ts'

const goal = z.strictObject({ findings: z.array(z.string()) })
type Goal = z.infer<typeof goal>
const planner = role({ name: 'planner', input: planRequest(goal), output: planSchema })
const po = z.strictObject({ po: z.string() })
const facts = z.object({ facts: z.array(z.string()) })
const deliveries = role({ name: 'deliveries', description: 'What was received.', input: po, output: facts })
const prices = role({ name: 'prices', input: po, output: facts })
const explain = role({
  name: 'explain',
  input: z.strictObject({ from: z.array(z.array(z.string())) }),
  output: z.object({ text: z.string() }),
})
const team = squad({ deliveries, prices, explain })

const workers = [
  agent({
    role: deliveries,
    run: async (ctx, input) => {
      await ctx.step('look up', () => 1)
      if (input.po === 'PO-0') throw new ConvokeError('TOOL_FAILED', 'no such order')
      return { facts: [`received for ${input.po}`] }
    },
  }),
  agent({ role: prices, run: async (_, input) => ({ facts: [`price of ${input.po}`] }) }),
  agent({ role: explain, run: async (_, { from }) => ({ text: from.flat().join('; ') }) }),
]

const task = (id: string, its: string, input: unknown, needs: string[] = []) =>
  ({ id, role: its, input, needs }) as Plan['tasks'][number]
const explanation = (...ids: string[]) =>
  task('explain', 'explain', { from: ids.map((id) => ({ $task: id, pointer: '/facts' })) }, ids)

function planning(plan: (request: PlanRequest<Goal>, nth: number) => Plan): Cast['agents'][number] {
  return agent({
    role: planner,
    run: async (_, request) => plan(request, request.failed.length + (request.problems?.length ?? 0)),
  })
}

const open: World[] = []
afterEach(async () => {
  for (const w of open.splice(0)) await w.close()
})
async function setting(...agents: Cast['agents']): Promise<World> {
  const w = await world({ agents: [...workers, ...agents] })
  open.push(w)
  return w
}

describe('supervise', () => {
  test('tasks run as their needs finish, with the results they refer to; two goals give two graphs', async () => {
    const w = await setting(
      planning(({ goal: { findings } }) =>
        findings.includes('price')
          ? {
              tasks: [
                task('d', 'deliveries', { po: 'PO-7' }),
                task('p', 'prices', { po: 'PO-7' }),
                explanation('d', 'p'),
              ],
              reason: 'both',
            }
          : { tasks: [task('d', 'deliveries', { po: 'PO-7' }), explanation('d')] },
      ),
    )
    const reach = supervise({ planner, squad: team })
    const run = await w.run(async (r) => {
      const both = await r.all('goals', {
        one: (b) => reach(b, { findings: ['price'] }),
        two: (b) => reach(b, { findings: ['quantity'] }),
      })
      return [both.one, both.two].map((done) => ({
        text: done.results['explain']!.value,
        graph: done.graph.map((t) => `${t.id} ${t.status}`),
      }))
    })
    expect(run.error).toBeUndefined()
    expect(run.value).toEqual([
      { text: { text: 'received for PO-7; price of PO-7' }, graph: ['d finished', 'p finished', 'explain finished'] },
      { text: { text: 'received for PO-7' }, graph: ['d finished', 'explain finished'] },
    ])
    expect(run.at('goals/one/plan.made')?.payload['value']).toMatchObject({
      edges: [
        { from: 'd', to: 'explain' },
        { from: 'p', to: 'explain' },
      ],
      reason: 'both',
    })
    const seq = (path: string): number => run.at(path)!.record.seq
    expect(seq('goals/one/tasks/explain/explain/@task')).toBeGreaterThan(seq('goals/one/tasks/d/deliveries'))
    expect(run.at('goals/one/tasks/explain/explain')!.record.causes).toContainEqual({
      ref: `run/${run.id}@${seq('goals/one/tasks/d/deliveries')}`,
      kind: 'input',
    })
  })

  test('PLAN_INVALID goes back to the planner with what is wrong, so often', async () => {
    const bad = { tasks: [task('d', 'deliveries', { order: 7 }), task('x', 'magic', {})] }
    const w = await setting(
      planning((_, problems) => (problems === 0 ? bad : { tasks: [task('d', 'deliveries', { po: 'PO-7' })] })),
    )
    const run = await w.run(async (r) => (await supervise({ planner, squad: team })(r, { findings: [] })).plans)
    expect(run.value).toBe(1)
    const request = run.at('plan#2/@task')!.payload['input'] as { readonly problems?: readonly string[] }
    expect(request.problems).toEqual([
      expect.stringContaining('no role magic'),
      expect.stringContaining('task d, input'),
      expect.stringContaining('task d, input'),
    ])
    const stubborn = await setting(planning(() => bad))
    const failed = await stubborn.run(
      (r) => supervise({ planner, squad: team, repairs: 1 })(r, { findings: [] }),
      'stubborn',
    )
    expect(failed.error).toMatchObject({ code: 'PLAN_INVALID', details: { repairs: 1 } })
    expect(failed.all('plan.made')).toEqual([])
  })

  test('a failed task leads to a new plan; what has finished is kept and not run again', async () => {
    const w = await setting(
      planning(({ failed, finished }) =>
        failed.length === 0
          ? {
              tasks: [
                task('p', 'prices', { po: 'PO-7' }),
                task('d', 'deliveries', { po: 'PO-0' }),
                explanation('p', 'd'),
              ],
            }
          : { tasks: [task('d2', 'deliveries', { po: 'PO-7' }), explanation(...finished.map((t) => t.id), 'd2')] },
      ),
    )
    const run = await w.run(async (r) => {
      const done = await supervise({ planner, squad: team, concurrency: 1 })(r, { findings: [] })
      return {
        text: done.results['explain']!.value,
        plans: done.plans,
        planned: done.planned.map((outcome) => `${outcome.role}: ${outcome.value.tasks.map((t) => t.id).join(' ')}`),
        graph: done.graph.map((t) => `${t.id} ${t.status}`),
      }
    })
    expect(run.value).toEqual({
      text: { text: 'price of PO-7; received for PO-7' },
      plans: 2,
      planned: ['planner: p d explain', 'planner: d2 explain'],
      graph: ['p finished', 'd failed', 'explain finished', 'd2 finished'],
    })
    expect(run.entries.filter((e) => e.payload['target'] === 'prices' && e.payload['op'] === 'ask')).toHaveLength(1)
    expect(run.at('plan.changed')?.payload['value']).toMatchObject({ plan: 2 })
  })

  test('ATTEMPTS_EXHAUSTED when the last plan fails too', async () => {
    const w = await setting(
      planning(({ failed }) => ({ tasks: [task(`d${failed.length}`, 'deliveries', { po: 'PO-0' })] })),
    )
    const run = await w.run((r) => supervise({ planner, squad: team, maxReplans: 1 })(r, { findings: [] }))
    expect(run.error).toMatchObject({
      code: 'ATTEMPTS_EXHAUSTED',
      details: { plans: 2, failed: [{ id: 'd1', error: { code: 'TOOL_FAILED' } }] },
    })
  })

  test('DEFINITION_INVALID: bounds that bound nothing', () => {
    expect(() => supervise({ planner, squad: team, concurrency: 0 })).toThrow(
      expect.objectContaining({ code: 'DEFINITION_INVALID' }),
    )
    expect(() => supervise({ planner, squad: team, maxReplans: -1 })).toThrow(
      expect.objectContaining({ code: 'DEFINITION_INVALID' }),
    )
  })

  test('a model plans as well: it sees goal, roles and their schemas', async () => {
    const model = scriptedModel({
      id: 'planner',
      rules: [
        rule({
          name: 'plan',
          when: (request) => /"name":"deliveries"/.test(JSON.stringify(request.messages).replaceAll('\\', '')),
          reply: () => JSON.stringify({ value: { tasks: [task('d', 'deliveries', { po: 'PO-9' })] } }),
        }),
      ],
    })
    const w = await world({ agents: [...workers, agent({ role: planner, instructions: 'Plan.' })], model })
    open.push(w)
    const run = await w.run(
      async (r) => (await supervise({ planner, squad: team })(r, { findings: [] })).results['d']!.value,
    )
    expect(run.value).toEqual({ facts: ['received for PO-9'] })
  })
})
