import { ConvokeError } from '../core/errors.ts'
import type { Json, JsonObject } from '../core/json.ts'
import { parseForeign } from '../core/foreign-json.ts'
import { jsonSchemaOf } from '../contracts/schema.ts'
import type { AnyTool } from '../gateway/tool.ts'
import type { ModelTool } from '../ports/model.ts'
import type { Completion, Operation } from '../replay/types.ts'

// Tools of catalogues, which may be thousands, are not listed to a model: it searches among those within its role's reach,
// asks for a description, and calls. The call is that of the tool itself, so scopes, policy and everything else of the
// gateway see no difference.

export const searchName = 'tools.search'
export const describeName = 'tools.describe'
export const callName = 'tools.call'

const mostHits = 20

/** What a model is told of catalogues: three tools, however large they are. Nothing when there are none. */
export function catalogTools(catalogued: readonly AnyTool[]): readonly ModelTool[] {
  if (catalogued.length === 0) return []
  const names = [...new Set(catalogued.map((tool) => tool.catalog))].join(', ')
  const text = { type: 'string' }
  return [
    {
      name: searchName,
      description: `Searches ${catalogued.length} more tools (${names}) by words of what they do.`,
      inputSchema: {
        type: 'object',
        properties: { query: text, catalog: text, limit: { type: 'integer', minimum: 1, maximum: mostHits } },
        required: ['query'],
        additionalProperties: false,
      },
    },
    {
      name: describeName,
      description: 'Tells all about a tool that was found: what it does and the arguments that it takes.',
      inputSchema: { type: 'object', properties: { name: text }, required: ['name'], additionalProperties: false },
    },
    {
      name: callName,
      description: 'Calls a tool that was found, with arguments as its description says.',
      inputSchema: {
        type: 'object',
        properties: { name: text, arguments: { type: 'object' } },
        required: ['name', 'arguments'],
        additionalProperties: false,
      },
    },
  ]
}

/** A search or a description as a step: its answer is recorded, so a replay does not depend on today's catalogue. */
export function catalogOperation(
  catalogued: readonly AnyTool[],
  name: string,
  input: Json,
  step: string,
): Operation | undefined {
  const make = name === searchName ? search : name === describeName ? describe : undefined
  if (make === undefined || catalogued.length === 0) return undefined
  return {
    kind: 'catalog',
    name: step,
    target: name,
    input,
    immediate: (): Completion => ({ value: make(catalogued, fieldsOf(input)) }),
  }
}

/** The tool that `tools.call` means, with its arguments. Undefined for anything else. */
export function meantCall(name: string, input: Json): { readonly tool: string; readonly input: Json } | undefined {
  if (name !== callName) return undefined
  const fields = fieldsOf(input)
  const tool = fields['name']
  return typeof tool === 'string' ? { tool, input: fields['arguments'] ?? {} } : undefined
}

/** What a step is called: after the tool that is meant, where one is. */
export function stepName(name: string, text: string): string {
  if (name !== callName) return name
  try {
    const tool = meantCall(name, parseForeign(text).value)?.tool
    return tool !== undefined && /^[A-Za-z][A-Za-z0-9._-]{0,63}$/.test(tool) ? tool : name
  } catch {
    return name
  }
}

function fieldsOf(input: Json): JsonObject {
  return typeof input === 'object' && input !== null && !Array.isArray(input) ? (input as JsonObject) : {}
}

function search(tools: readonly AnyTool[], input: JsonObject): JsonObject {
  const words = wordsOf(typeof input['query'] === 'string' ? input['query'] : '')
  const asked = input['limit']
  const limit = typeof asked === 'number' && asked >= 1 ? Math.min(Math.floor(asked), mostHits) : 10
  const within = typeof input['catalog'] === 'string' ? tools.filter((t) => t.catalog === input['catalog']) : tools
  const hits = within
    .map((tool) => ({ tool, score: scoreOf(tool, words) }))
    .filter(({ score }) => score > 0)
    .sort((a, b) => b.score - a.score || (a.tool.name < b.tool.name ? -1 : 1))
  return {
    found: hits.length,
    tools: hits.slice(0, limit).map(({ tool }) => ({
      name: tool.name,
      does: firstLine(tool),
      effect: tool.effect,
    })),
    ...(hits.length === 0 ? { hint: 'try other words, fewer of them, or a part of a name' } : {}),
  }
}

function describe(tools: readonly AnyTool[], input: JsonObject): JsonObject {
  const found = tools.find((tool) => tool.name === input['name'])
  if (found === undefined)
    throw new ConvokeError('TOOL_UNKNOWN', 'there is no such tool within reach', {
      next: `search with ${searchName}`,
    })
  return {
    name: found.name,
    description: found.description,
    effect: found.effect,
    arguments: jsonSchemaOf(found.inputSchema),
  }
}

function firstLine(tool: AnyTool): string {
  return (tool.description.split('\n')[0] ?? '').slice(0, 160).toWellFormed()
}

function wordsOf(text: string): readonly string[] {
  // Also the words within: `listPullRequests`.
  const parts = text
    .slice(0, 10_000)
    .replace(/([a-z0-9])([A-Z])/g, '$1 $2')
    .toLowerCase()
    .split(/[^\p{L}\p{N}]+/u)
  return parts.filter((part) => part !== '').slice(0, 500)
}

const indexed = new WeakMap<AnyTool, { readonly name: ReadonlySet<string>; readonly text: ReadonlySet<string> }>()

/** Words found, those of the name counting most; a word also fits its plural and what it begins. */
function scoreOf(tool: AnyTool, words: readonly string[]): number {
  let index = indexed.get(tool)
  if (index === undefined) {
    index = { name: new Set(wordsOf(tool.name)), text: new Set(wordsOf(tool.description)) }
    indexed.set(tool, index)
  }
  const { name, text } = index
  return words.reduce((sum, word) => sum + (fits(name, word) ? 4 : 0) + (fits(text, word) ? 1 : 0), 0)
}

function fits(words: ReadonlySet<string>, word: string): boolean {
  if (words.has(word) || words.has(`${word}s`) || (word.endsWith('s') && words.has(word.slice(0, -1)))) return true
  return word.length >= 4 && [...words].some((known) => known.startsWith(word))
}
