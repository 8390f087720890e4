import type { Tool as ServedTool } from '@modelcontextprotocol/client'
import type { Json, JsonObject } from 'convoke'
import { canonicalize, sha256 } from 'convoke/adapter'

/** What of a tool reaches a model or decides what is sent: all of it is pinned. */
export interface Definition {
  readonly name: string
  readonly title?: string
  readonly description: string
  readonly inputSchema: JsonObject
  readonly outputSchema?: JsonObject
}

/** As data, as it came. */
export function definitionOf(served: ServedTool): Definition {
  return {
    name: served.name,
    ...(served.title === undefined ? {} : { title: served.title }),
    description: served.description ?? '',
    inputSchema: served.inputSchema as JsonObject,
    ...(served.outputSchema === undefined ? {} : { outputSchema: served.outputSchema as JsonObject }),
  }
}

/** SHA-256 of the canonical definition. */
export function hashOf(definition: Definition): string {
  return sha256(canonicalize(definition as unknown as Json))
}

/** Lines of what changes from one definition to the other: `- ` before those that go, `+ ` before those that come. */
export function difference(before: Definition | undefined, after: Definition | undefined): string {
  const a = before === undefined ? [] : linesOf(before)
  const b = after === undefined ? [] : linesOf(after)
  return diff(a, b).join('\n')
}

function linesOf(definition: Definition): string[] {
  const { name, title, description, inputSchema, outputSchema } = definition
  return [
    `name: ${name}`,
    ...(title === undefined ? [] : [`title: ${title}`]),
    ...description.split('\n').map((line) => `description: ${line}`),
    ...jsonLines(inputSchema).map((line) => `input: ${line}`),
    ...(outputSchema === undefined ? [] : jsonLines(outputSchema).map((line) => `output: ${line}`)),
  ].map(shown)
}

/** The order of keys is no difference, as it is none to the hash. */
function jsonLines(schema: JsonObject): string[] {
  return JSON.stringify(JSON.parse(canonicalize(schema)), null, 2).split('\n')
}

/** What people cannot see is written out: text for models hides in it (tags, zero width, directions, controls). */
function shown(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\u2028\u2029\u115f\u1160\u3164\uffa0\p{Variation_Selector}]/gu,
    (c) => `\\u{${(c.codePointAt(0) ?? 0).toString(16)}}`,
  )
}

const compared = 1_000_000

/** By longest common subsequence; what is too long for that is shown as all gone and all new. */
function diff(a: readonly string[], b: readonly string[]): string[] {
  if (a.length * b.length > compared) return [...a.map((l) => `- ${l}`), ...b.map((l) => `+ ${l}`)]
  const width = b.length + 1
  const common = new Uint32Array((a.length + 1) * width)
  const at = (i: number, j: number): number => common[i * width + j] ?? 0
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--)
      common[i * width + j] = a[i] === b[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1))
  const out: string[] = []
  let i = 0
  let j = 0
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      i++
      j++
    } else if (j >= b.length || (i < a.length && at(i + 1, j) >= at(i, j + 1))) out.push(`- ${a[i++] ?? ''}`)
    else out.push(`+ ${b[j++] ?? ''}`)
  }
  return out
}
