import { ConvokeError, isConvokeError } from '../core/errors.ts'
import type { StandardSchemaV1 } from '@standard-schema/spec'
import { jsonSchemaOf, type Checked } from '../contracts/schema.ts'
import { parseForeign, type Foreign } from '../core/foreign-json.ts'
import type { Json } from '../core/json.ts'
import { textOf } from './held-body.ts'
import { check, issueText } from './schema.ts'
import type { AnyTool } from './tool.ts'

export function tooLarge(tool: string, max: number): ConvokeError {
  return new ConvokeError('TOOL_RESULT_TOO_LARGE', `${tool} answered with more than ${max} bytes`, {
    details: { tool, maxResultBytes: max },
    next: 'ask for less (a page, a range), or raise maxResultBytes of the tool',
  })
}

export function outputInvalid(tool: string, why: string, details: Record<string, Json> = {}): ConvokeError {
  return new ConvokeError('TOOL_OUTPUT_INVALID', `${tool} answered with something else than it promised: ${why}`, {
    details: { tool, ...details },
    next: 'look at what the tool really answers; its outputSchema or its code is wrong',
  })
}

/** @throws TOOL_OUTPUT_INVALID */
export function foreignJson(text: string, tool: string): Foreign {
  try {
    return parseForeign(text)
  } catch (error) {
    if (!isConvokeError(error, 'JSON_INVALID')) throw error
    throw outputInvalid(tool, error.message, { begins: text.slice(0, 200).toWellFormed() })
  }
}

/** What a tool answered, as bounded data; not yet held against its schema. */
export interface RawResult {
  readonly value: unknown
  readonly notes: readonly string[]
}

/**
 * Turns what a tool's code or transport handed back into bounded data. Bytes, responses and text for a tool that does
 * not promise text are foreign JSON.
 * @throws TOOL_RESULT_TOO_LARGE, TOOL_OUTPUT_INVALID
 */
export async function readResult(tool: AnyTool, answer: unknown): Promise<RawResult> {
  const max = tool.maxResultBytes
  if (answer instanceof Response) {
    const text = await textOf(answer)
    if (text === '') return { value: undefined, notes: [] }
    return fromText(tool, text)
  }
  if (answer instanceof Uint8Array) {
    if (answer.byteLength > max) throw tooLarge(tool.name, max)
    return fromText(tool, new TextDecoder().decode(answer))
  }
  if (typeof answer === 'string' && tool.transport !== undefined) {
    if (answer.length > max) throw tooLarge(tool.name, max)
    return fromText(tool, answer)
  }
  if (exceeds(answer, max)) throw tooLarge(tool.name, max)
  return { value: answer, notes: [] }
}

async function fromText(tool: AnyTool, text: string): Promise<RawResult> {
  const { outputSchema } = tool
  if (outputSchema !== undefined && mayTakeText(outputSchema) && (await check(outputSchema, text)).ok)
    return { value: text, notes: [] }
  return foreignJson(text, tool.name)
}

/** Whether a schema could let text through, by what it says of itself: asking it with text it refuses costs an error. */
function mayTakeText(schema: StandardSchemaV1): boolean {
  let may = takesText.get(schema)
  if (may === undefined) {
    try {
      const { type } = jsonSchemaOf(schema, 'input')
      may = type !== 'object' && type !== 'array'
    } catch {
      may = true
    }
    takesText.set(schema, may)
  }
  return may
}

const takesText = new WeakMap<StandardSchemaV1, boolean>()

/** Holds a value against the tool's output schema. @throws TOOL_OUTPUT_INVALID with the problems */
export async function checkOutput(tool: AnyTool, value: unknown): Promise<Json | undefined> {
  return fitting(tool, await check(tool.outputSchema, value))
}

/** What was held against the output schema, if it fits. @throws TOOL_OUTPUT_INVALID with the problems */
export function fitting(tool: AnyTool, checked: Checked<Json | undefined>): Json | undefined {
  if (checked.ok) return checked.value
  throw outputInvalid(tool.name, issueText(checked.issues), { issues: checked.issues as unknown as Json })
}

/** Whether a value's text is certainly longer than `max`; stops as soon as it knows. */
export function exceeds(value: unknown, max: number): boolean {
  let size = 0
  const stack: unknown[] = [value]
  const seen = new Set<object>()
  while (stack.length > 0) {
    const item = stack.pop()
    if (typeof item === 'string') size += item.length + 2
    else if (typeof item === 'object' && item !== null) {
      if (seen.has(item)) continue
      seen.add(item)
      if (ArrayBuffer.isView(item)) size += item.byteLength
      else if (Array.isArray(item)) {
        size += item.length + 1
        if (size <= max) for (const part of item as readonly unknown[]) stack.push(part)
      } else
        for (const key of Object.keys(item)) {
          size += key.length + 4
          if (size > max) return true
          stack.push((item as Record<string, unknown>)[key])
        }
    } else size += 1
    if (size > max) return true
  }
  return false
}
