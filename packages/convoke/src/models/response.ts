import type {
  LanguageModelV4Content,
  LanguageModelV4FinishReason,
  LanguageModelV4Usage,
  SharedV4Warning,
} from '@ai-sdk/provider'
import type { ModelResponse, Part, Tokens } from '../ports/model.ts'
import { providerData } from './foreign.ts'
import type { WireNames } from './names.ts'

/** A provider's answer, whether it came whole or as a stream. */
export interface Answer {
  readonly content: readonly LanguageModelV4Content[]
  readonly structuredOutputText?: string | undefined
  readonly finishReason: LanguageModelV4FinishReason | undefined
  readonly usage: LanguageModelV4Usage | undefined
  readonly warnings: readonly SharedV4Warning[]
  readonly modelId?: string | undefined
  readonly responseId?: string | undefined
}

export function toResponse(answer: Answer, names: WireNames, ownWarnings: readonly string[]): ModelResponse {
  const warnings = [...ownWarnings, ...answer.warnings.map(warningText)]
  const parts = selectText(
    answer.content.flatMap((content) => toPart(content, names, warnings)),
    answer.structuredOutputText,
  )
  const called = parts.some((part) => part.type === 'tool-call')
  return {
    parts,
    finish: finishOf(answer.finishReason, called),
    tokens: tokensOf(answer.usage),
    ...(answer.modelId === undefined ? {} : { servedModel: answer.modelId.toWellFormed() }),
    ...(answer.responseId === undefined ? {} : { responseId: answer.responseId.toWellFormed() }),
    ...(warnings.length === 0 ? {} : { warnings: warnings.map((text) => text.toWellFormed().slice(0, 500)) }),
  }
}

function toPart(content: LanguageModelV4Content, names: WireNames, warnings: string[]): readonly Part[] {
  const data = providerData('providerMetadata' in content ? content.providerMetadata : undefined)
  switch (content.type) {
    case 'text':
    case 'reasoning': {
      // Reasoning may be empty and still carry the signature that the next request must show.
      if (content.text === '' && data.providerData === undefined) return []
      return [{ type: content.type, text: content.text.toWellFormed(), ...data }]
    }
    case 'file': {
      const bytes = bytesOf(content.data)
      if (bytes !== undefined) return [{ type: 'file', mediaType: content.mediaType, data: bytes, ...data }]
      warnings.push('a file that the model referred to by URL was left out')
      return []
    }
    case 'tool-call':
      if (content.providerExecuted === true) break
      return [
        {
          type: 'tool-call',
          id: content.toolCallId.toWellFormed(),
          tool: names.toTool(content.toolName.toWellFormed()),
          input: content.input.toWellFormed(),
          ...data,
        },
      ]
    default:
      break
  }
  // Parts of tools that the provider runs itself, and whatever kinds come later.
  warnings.push(`a ${content.type} part of the provider was left out`)
  return []
}

/** Base64 of a file's bytes: tagged in version 4 of the interface, bare in version 3. */
function bytesOf(data: unknown): string | undefined {
  if (typeof data === 'string') return data
  if (data instanceof Uint8Array) return Buffer.from(data).toString('base64')
  const tagged = data as { readonly type?: unknown; readonly data?: unknown }
  return tagged.type === 'data' ? bytesOf(tagged.data) : undefined
}

/** Where the provider marks one text as the answer, the other texts were drafts. */
function selectText(parts: readonly Part[], chosen: string | undefined): readonly Part[] {
  if (chosen === undefined) return parts
  const text = chosen.toWellFormed()
  if (parts.flatMap((part) => (part.type === 'text' ? [part.text] : [])).join('') === text) return parts
  const last = parts.findLastIndex((part) => part.type === 'text')
  if (last === -1) return [...parts, { type: 'text', text }]
  return parts.flatMap((part, i): readonly Part[] =>
    part.type !== 'text' ? [part] : i === last ? [{ ...part, text }] : [],
  )
}

/** Never exhaustive: providers and the interface both add reasons. */
export function finishOf(reason: LanguageModelV4FinishReason | undefined, called: boolean): ModelResponse['finish'] {
  switch (reason?.unified as string | undefined) {
    case 'length':
      return 'length'
    case 'tool-calls':
      return 'tool-calls'
    case 'content-filter':
      return 'content-filter'
    case 'error':
      return 'error'
    case 'stop':
      return called ? 'tool-calls' : 'stop'
    default:
      return called ? 'tool-calls' : 'other'
  }
}

export function tokensOf(usage: LanguageModelV4Usage | undefined): Tokens {
  const input = usage?.inputTokens as Partial<LanguageModelV4Usage['inputTokens']> | undefined
  const output = usage?.outputTokens as Partial<LanguageModelV4Usage['outputTokens']> | undefined
  return Object.fromEntries(
    Object.entries({
      input: input?.total,
      output: output?.total,
      reasoning: output?.reasoning,
      cacheRead: input?.cacheRead,
      cacheWrite: input?.cacheWrite,
    }).filter(([, count]) => Number.isSafeInteger(count) && (count as number) >= 0),
  ) as Tokens
}

function warningText(warning: SharedV4Warning): string {
  switch (warning.type) {
    case 'unsupported':
    case 'compatibility':
      return `${warning.type}: ${warning.feature}${warning.details === undefined ? '' : ` (${warning.details})`}`
    case 'deprecated':
      return `deprecated: ${warning.setting} (${warning.message})`
    default:
      return (warning as { readonly message?: string }).message ?? (warning as { readonly type: string }).type
  }
}
