import { afterEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { agent } from '../../src/agents/define.ts'
import { role } from '../../src/contracts/role.ts'
import type { Json } from '../../src/core/json.ts'
import { tool, type AnyTool } from '../../src/gateway/tool.ts'
import type { ModelRequest, Part } from '../../src/ports/model.ts'
import { rule, scriptedModel, toolCall } from '../../src/testing/scripted-model.ts'
import { world, type World } from './world.ts'

const called: string[] = []
const catalogued = (name: string, description: string): AnyTool =>
  tool({
    name,
    description,
    effect: 'read',
    catalog: 'hub',
    inputSchema: z.strictObject({ id: z.string() }),
    execute: ({ id }) => {
      called.push(`${name} ${id}`)
      return { name, id }
    },
  }) as AnyTool

/** A thousand of them, of which three are about pull requests. */
const tools = [
  ...Array.from({ length: 1_000 }, (_, i) =>
    catalogued(`hub_thing${i}`, `Does thing ${i}.\nAt length: ${'words '.repeat(50)}`),
  ),
  catalogued('hub_pulls_list', 'List pull requests'),
  catalogued('hub_pulls_merge', 'Merge a pull request'),
  catalogued('hub_pullsReview', 'Reviews'),
  catalogued('secret_pulls', 'List pull requests of others'),
]
const hub = role({
  name: 'hub',
  input: z.object({ task: z.string() }),
  output: z.object({ done: z.string() }),
  tools: ['hub_*'],
})

let w: World | undefined
afterEach(() => w?.close())

/** Makes these calls, one a turn; then says what came back. */
async function using(...calls: readonly (readonly [string, Json])[]): Promise<{
  readonly answers: readonly Json[]
  readonly asked: readonly ModelRequest[]
  readonly paths: readonly string[]
}> {
  const asked: ModelRequest[] = []
  const model = scriptedModel({
    id: 'hub',
    rules: [
      rule({
        name: 'next',
        when: (request) => request,
        reply: (request) => {
          asked.push(structuredClone(request))
          const next = calls[asked.length - 1]
          return next === undefined ? JSON.stringify({ done: 'yes' }) : { parts: [toolCall(...next)] }
        },
      }),
    ],
  })
  called.length = 0
  w = await world({ agents: [agent({ name: 'h', role: hub, instructions: 'Do it.' })], tools, model } as never)
  const driven = await w.run((run) => run.ask(hub, { task: 'x' }) as never)
  const answers = asked.slice(1).map((request) => {
    const last = request.messages.at(-1)
    const result = last?.parts.find(
      (part): part is Extract<Part, { type: 'tool-result' }> => part.type === 'tool-result',
    )
    return JSON.parse(JSON.stringify(result ?? null)) as Json
  })
  return { answers, asked, paths: driven.entries.flatMap((e) => e.record.path ?? []) }
}

describe('catalogues', () => {
  test('a thousand tools are three to a model, which searches, reads and calls', async () => {
    const { answers, asked, paths } = await using(
      ['tools.search', { query: 'list pull requests' }],
      ['tools.describe', { name: 'hub_pulls_list' }],
      ['tools.call', { name: 'hub_pulls_list', arguments: { id: '7' } }],
    )
    expect(asked[0]?.tools?.map((t) => t.name)).toEqual(['tools.search', 'tools.describe', 'tools.call'])
    expect(JSON.stringify(asked[0]?.tools).length).toBeLessThan(2_000)
    const [found, described, result] = answers.map((a) => JSON.stringify(a))
    expect(found).toContain('"name":"hub_pulls_list"')
    expect(found).toContain('hub_pullsReview')
    expect(found).not.toContain('hub_thing')
    expect(described).toContain('"additionalProperties":false')
    expect(result).toContain('"id":"7"')
    expect(called).toEqual(['hub_pulls_list 7'])
    // The step is the tool's own, as if it had been called by its name.
    expect(paths.some((path) => path.endsWith('/hub_pulls_list'))).toBe(true)
  })

  test('what is out of the role’s reach is not found, not described, and refused on record', async () => {
    const { answers } = await using(
      ['tools.search', { query: 'pull requests of others', limit: 20 }],
      ['tools.describe', { name: 'secret_pulls' }],
      ['tools.call', { name: 'secret_pulls', arguments: { id: '1' } }],
    )
    const [found, described, result] = answers.map((a) => JSON.stringify(a))
    expect(found).not.toContain('secret_pulls')
    expect(described).toContain('TOOL_UNKNOWN')
    expect(result).toContain('SCOPE_DENIED')
    expect(called).toEqual([])
  })

  test('arguments are held to the schema of the tool that is meant', async () => {
    const { answers } = await using(
      ['tools.call', { name: 'hub_pulls_list', arguments: { id: 7 } }],
      ['tools.call', { name: 'nope', arguments: {} }],
      ['tools.call', { nonsense: true }],
      ['tools.search', { query: '' }],
    )
    const [typed, unknown, nonsense, empty] = answers.map((a) => JSON.stringify(a))
    expect(typed).toContain('TOOL_INPUT_INVALID')
    expect(unknown).toContain('TOOL_UNKNOWN')
    expect(nonsense).toContain('TOOL_UNKNOWN')
    expect(empty).toContain('"found":0')
    expect(called).toEqual([])
  })
})
