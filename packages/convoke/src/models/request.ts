import type {
  LanguageModelV4CallOptions,
  LanguageModelV4FilePart,
  LanguageModelV4FunctionTool,
  LanguageModelV4Message,
  LanguageModelV4ToolResultOutput,
  LanguageModelV4ToolResultPart,
  SharedV4ProviderOptions,
} from '@ai-sdk/provider'
import { ConvokeError } from '../core/errors.ts'
import type { Json, JsonObject } from '../core/json.ts'
import type { Message, ModelRequest, Part } from '../ports/model.ts'
import type { WireNames } from './names.ts'

type PartOf<T extends Part['type']> = Extract<Part, { type: T }>
type AssistantContent = Extract<LanguageModelV4Message, { role: 'assistant' }>['content']

export interface RequestContext {
  readonly names: WireNames
  /** First word of the provider's name: the key of its options. */
  readonly provider: string
  /** Interface version 3 takes file data bare, version 4 tagged. */
  readonly version: 'v3' | 'v4'
  readonly providerOptions?: JsonObject
}

/** Settings that the provider interface names; anything else in `settings` is warned about, not sent. */
const known = new Set([
  'topP',
  'topK',
  'presencePenalty',
  'frequencyPenalty',
  'stopSequences',
  'seed',
  'reasoning',
  'providerOptions',
])

/** @throws INPUT_INVALID for a part that cannot stand in its message, BLOB_MISSING for a file without its bytes */
export function toCallOptions(
  request: ModelRequest,
  context: RequestContext,
): { readonly options: LanguageModelV4CallOptions; readonly warnings: readonly string[] } {
  const settings = request.settings ?? {}
  const { providerOptions: wanted, ...rest } = settings
  const warnings: string[] = []
  const passed: Record<string, Json> = {}
  for (const [key, value] of Object.entries(rest))
    if (known.has(key)) passed[key] = value
    else warnings.push(`setting ${JSON.stringify(key)} is not known and was not sent`)

  const tools = (request.tools ?? []).map((tool): LanguageModelV4FunctionTool => ({
    type: 'function',
    name: context.names.toWire(tool.name),
    description: tool.description,
    inputSchema: tool.inputSchema as LanguageModelV4FunctionTool['inputSchema'],
  }))
  const loose = request.outputSchema !== undefined && !isStrict(request.outputSchema)
  const providerOptions = mergeOptions(
    loose && context.provider.startsWith('openai') ? { [context.provider]: { strictJsonSchema: false } } : undefined,
    context.providerOptions,
    wanted,
  )
  const options: LanguageModelV4CallOptions = {
    ...passed,
    prompt: request.messages.map((message) => toMessage(message, context)),
    ...(tools.length === 0 ? {} : { tools, toolChoice: { type: request.toolChoice ?? 'auto' } }),
    ...(request.outputSchema === undefined
      ? {}
      : {
          responseFormat: {
            type: 'json' as const,
            name: 'answer',
            schema: request.outputSchema as LanguageModelV4FunctionTool['inputSchema'],
          },
        }),
    ...(request.maxOutputTokens === undefined ? {} : { maxOutputTokens: request.maxOutputTokens }),
    ...(request.temperature === undefined ? {} : { temperature: request.temperature }),
    ...(Object.keys(providerOptions).length === 0 ? {} : { providerOptions }),
  }
  return { options, warnings }
}

function toMessage(message: Message, context: RequestContext): LanguageModelV4Message {
  switch (message.role) {
    case 'system':
      return {
        role: 'system',
        content: message.parts
          .map((part) => (part.type === 'text' ? part.text : misplaced(part, message)))
          .join('\n\n'),
      }
    case 'user':
      return {
        role: 'user',
        content: message.parts.map((part) => {
          if (part.type === 'text') return { type: 'text', text: part.text, ...optionsOf(part) }
          return part.type === 'file' ? toFile(part, context) : misplaced(part, message)
        }),
      }
    case 'assistant':
      return { role: 'assistant', content: message.parts.map((part) => toAssistantPart(part, context)) }
    case 'tool':
      return {
        role: 'tool',
        content: message.parts.map((part) =>
          part.type === 'tool-result' ? toToolResult(part, context) : misplaced(part, message),
        ),
      }
  }
}

function toAssistantPart(part: Part, context: RequestContext): AssistantContent[number] {
  switch (part.type) {
    case 'text':
    case 'reasoning':
      return { type: part.type, text: part.text, ...optionsOf(part) }
    case 'file':
      return toFile(part, context)
    case 'tool-call':
      return {
        type: 'tool-call',
        toolCallId: part.id,
        toolName: context.names.toWire(part.tool),
        input: callInput(part.input),
        ...optionsOf(part),
      }
    case 'tool-result':
      return toToolResult(part, context)
  }
}

function toFile(part: PartOf<'file'>, context: RequestContext): LanguageModelV4FilePart {
  if (part.data === undefined)
    throw new ConvokeError('BLOB_MISSING', `the bytes of a file (${part.mediaType}) were not loaded for the model`, {
      details: part.blob === undefined ? {} : { blob: part.blob },
      next: 'load the blob into the data of the part before the model is called',
    })
  const data = context.version === 'v4' ? { type: 'data', data: part.data } : part.data
  return {
    type: 'file',
    mediaType: part.mediaType,
    data: data as LanguageModelV4FilePart['data'],
    ...optionsOf(part),
  }
}

function toToolResult(part: PartOf<'tool-result'>, context: RequestContext): LanguageModelV4ToolResultPart {
  const text = typeof part.output === 'string'
  const type = part.isError === true ? (text ? 'error-text' : 'error-json') : text ? 'text' : 'json'
  return {
    type: 'tool-result',
    toolCallId: part.id,
    toolName: context.names.toWire(part.tool),
    output: { type, value: part.output } as LanguageModelV4ToolResultOutput,
  }
}

/**
 * Providers want an object. What the model wrote that is none goes back under a name of its own, so that it can see
 * its mistake and servers that parse arguments do not fall over it.
 */
function callInput(raw: string): JsonObject {
  if (raw.trim() === '') return {}
  try {
    const value = JSON.parse(raw) as Json
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as JsonObject
  } catch {
    // not JSON: falls through to the raw text
  }
  return { invalid: raw }
}

function optionsOf(part: { readonly providerData?: JsonObject }): { providerOptions?: SharedV4ProviderOptions } {
  return part.providerData === undefined ? {} : { providerOptions: part.providerData as SharedV4ProviderOptions }
}

function mergeOptions(...all: readonly (Json | undefined)[]): SharedV4ProviderOptions {
  const merged: Record<string, Record<string, Json>> = {}
  for (const options of all)
    for (const [provider, values] of Object.entries((options ?? {}) as Record<string, Record<string, Json>>))
      merged[provider] = { ...merged[provider], ...values }
  return merged as SharedV4ProviderOptions
}

function misplaced(part: Part, message: Message): never {
  throw new ConvokeError('INPUT_INVALID', `a ${part.type} part cannot stand in a ${message.role} message`)
}

/**
 * Whether OpenAI would take the schema in strict mode: every object closed and all its members required. A looser one
 * is sent without strictness (the contract checks the answer anyway), where strict mode would refuse the request.
 */
export function isStrict(schema: Json): boolean {
  if (Array.isArray(schema)) return schema.every(isStrict)
  if (typeof schema !== 'object' || schema === null) return true
  const { properties, required, additionalProperties } = schema as JsonObject
  if (properties !== undefined || (schema as JsonObject)['type'] === 'object') {
    const names = Object.keys((properties ?? {}) as JsonObject)
    const needed = new Set(Array.isArray(required) ? required : [])
    if (additionalProperties !== false || !names.every((name) => needed.has(name))) return false
    if (!names.every((name) => isStrict((properties as JsonObject)[name] as Json))) return false
  }
  return ['items', 'anyOf', '$defs', 'definitions'].every((key) => {
    const inner = (schema as JsonObject)[key]
    if (inner === undefined) return true
    return key.endsWith('s') && !Array.isArray(inner) && key !== 'items'
      ? Object.values(inner as JsonObject).every(isStrict)
      : isStrict(inner)
  })
}
