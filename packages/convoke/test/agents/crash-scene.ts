import { appendFileSync } from 'node:fs'
import { z } from 'zod'
import { agent } from '../../src/agents/define.ts'
import { role, squad } from '../../src/contracts/role.ts'
import { tool } from '../../src/gateway/tool.ts'
import { planRequest, planSchema } from '../../src/patterns/plan-schema.ts'
import { supervise } from '../../src/patterns/supervise.ts'
import { rule, scriptedModel, toolCall } from '../../src/testing/scripted-model.ts'
import type { Cast, Code } from './world.ts'

// A run with everything that asks are made of: a supervisor, a model loop with parallel tools, an effect and a repair,
// a code agent that asks another, a session. `book` is the counterpart: a file outside of the store.

const id = z.object({ id: z.string() })
const note = z.object({ text: z.string() })
const planner = role({ name: 'planner', input: planRequest(id), output: planSchema })
const lookup = role({ name: 'lookup', input: id, output: note, evidence: 'required', tools: ['get', 'register'] })
const write = role({ name: 'write', input: z.object({ from: z.array(z.string()) }), output: note, mayAsk: ['lookup'] })
const team = squad({ lookup, write })

const model = scriptedModel({
  id: 'crash',
  rules: [
    rule({
      name: 'call',
      when: (request) => /segment id/.test(JSON.stringify(request.messages.at(-1))),
      reply: (request) => {
        const asked = /"id":"(\w+)"/.exec(JSON.stringify(request.messages.at(-1)).replaceAll('\\', ''))?.[1] ?? 'x'
        return [toolCall('get', { id: asked }), toolCall('register', { id: asked })]
      },
    }),
    rule({
      name: 'answer',
      when: () => true,
      reply: (request) => {
        const returned = request.messages.at(-1)?.role === 'user'
        const text = JSON.stringify(request.messages).replaceAll('\\', '')
        const last = [
          ...text.matchAll(
            /"result":\{"stock":"(\d+)"\},"segment":"(s\d+)"|"segment":"(s\d+)","result":\{"stock":"(\d+)"/g,
          ),
        ].at(-1)
        const seen = last?.[1] ?? last?.[4] ?? '0'
        const ref = last?.[2] ?? last?.[3] ?? 's0'
        const claimed = returned ? seen : '999'
        const claims = [{ statement: `${claimed} in stock`, evidence: [{ ref, quote: `"stock":"${seen}"` }] }]
        return JSON.stringify({ value: { text: `${seen} in stock` }, claims })
      },
    }),
  ],
})

export function scene(book: string): { readonly cast: Cast; readonly code: Code } {
  const line = (text: string): void => appendFileSync(book, `${text}\n`)
  const get = tool({
    name: 'get',
    description: 'Stock of an article.',
    effect: 'read',
    inputSchema: id,
    execute: (input) => ({ stock: String(100 + input.id.length) }),
  })
  const register = tool({
    name: 'register',
    description: 'Registers the look-up.',
    effect: 'keyed',
    inputSchema: id,
    execute: (input, ctx) => {
      line(`${ctx.idempotencyKey} ${input.id}`)
      return { done: true }
    },
  })
  const cast: Cast = {
    model,
    tools: [get, register],
    agents: [
      agent({ role: lookup, instructions: 'Look it up, register it, say what is in stock.' }),
      agent({
        role: planner,
        run: async () => ({
          tasks: [
            { id: 'a', role: 'lookup', input: { id: 'bolt' }, needs: [] },
            { id: 'b', role: 'lookup', input: { id: 'nut' }, needs: [] },
            {
              id: 'c',
              role: 'write',
              input: {
                from: [
                  { $task: 'a', pointer: '/text' },
                  { $task: 'b', pointer: '/text' },
                ],
              },
              needs: ['a', 'b'],
            },
          ],
        }),
      }),
      agent({
        role: write,
        run: async (ctx, { from }) => {
          const more = await ctx.ask(lookup, { id: 'washer' })
          await ctx.step('think', () => 1)
          return { text: [...from, more.value.text].join('; ') }
        },
      }),
    ],
  }
  const code: Code = async (run) => {
    const done = await supervise({ planner, squad: team })(run, { id: 'all' })
    const first = await run.ask(lookup, { id: 'pin' }, { session: 's' })
    const second = await run.ask(lookup, { id: 'pin' }, { session: 's' })
    return [(done.results['c']!.value as { text: string }).text, first.value.text, second.value.text]
  }
  return { cast, code }
}
