import type { LanguageModelV3, LanguageModelV4, LanguageModelV4CallOptions } from '@ai-sdk/provider'
import type { JsonObject } from '../core/json.ts'
import type { Model, ModelRequest, ModelResponse } from '../ports/model.ts'
import { modelError, silent, tooLarge, type FailureContext } from './failures.ts'
import { wireNames } from './names.ts'
import { toCallOptions } from './request.ts'
import { toResponse, type Answer } from './response.ts'
import { collect } from './stream.ts'
import { watch, type Watch } from './watch.ts'

export interface FromAiSdkOptions {
  /** Default `<provider>/<modelId>`, the provider being the first word of the package's own (`openai.responses`). */
  readonly id?: string
  /**
   * Milliseconds without a sign of life: for the whole answer without `onText`, for the first and between any two
   * parts of the stream with it. Default 120,000.
   */
  readonly idleTimeoutMs?: number
  /** Size of an answer in bytes (UTF-16 code units where only text can be counted). Default 16 MiB. */
  readonly maxAnswerBytes?: number
  /** Sent with every request, keyed by provider; a request's `settings.providerOptions` win. */
  readonly providerOptions?: JsonObject
  /** Values that must not show in errors, such as the API key. */
  readonly secrets?: readonly string[]
  /** For `retry-after` given as a date; default `Date.now`. */
  readonly now?: () => number
}

export const defaultAnswerBytes: number = 16 * 1024 * 1024

/**
 * A model of any AI SDK provider package (provider interface version 4, or 3) as our `Model`. Nothing is retried.
 * Throws as the port says; an abort rejects with the reason of the caller's signal.
 */
export function fromAiSdk(model: LanguageModelV4 | LanguageModelV3, options: FromAiSdkOptions = {}): Model {
  // The two versions differ in how file data is written, which request.ts and response.ts know.
  const v4 = model as LanguageModelV4
  const provider = model.provider.split('.', 1)[0] ?? model.provider
  const id = options.id ?? `${provider}/${model.modelId}`
  const failures: FailureContext = { model: id, now: options.now ?? Date.now, secrets: options.secrets ?? [] }
  const idleMs = options.idleTimeoutMs ?? 120_000
  const maxBytes = options.maxAnswerBytes ?? defaultAnswerBytes

  async function generate(
    request: ModelRequest,
    call: { readonly signal: AbortSignal; readonly onText?: (delta: string) => void },
  ): Promise<ModelResponse> {
    call.signal.throwIfAborted()
    const names = wireNames(request)
    const { options: wire, warnings } = toCallOptions(request, {
      names,
      provider,
      version: model.specificationVersion,
      ...(options.providerOptions === undefined ? {} : { providerOptions: options.providerOptions }),
    })
    const guard = watch(call.signal, idleMs, () => silent(idleMs, failures))
    const spend = budget(maxBytes, id)
    try {
      const sent = { ...wire, abortSignal: guard.signal }
      const answer =
        call.onText === undefined ? await whole(v4, sent, guard) : await streamed(v4, sent, guard, call.onText, spend)
      if (call.onText === undefined) for (const part of answer.content) spend(sizeOf(part))
      return toResponse(answer, names, warnings)
    } catch (error) {
      // After an abort the packages throw what they like; what the caller said is what counts.
      if (call.signal.aborted) throw call.signal.reason
      throw modelError(guard.signal.aborted ? guard.signal.reason : error, failures)
    } finally {
      guard.close()
    }
  }

  return { id, provider, kind: 'provider', generate }
}

async function whole(model: LanguageModelV4, options: LanguageModelV4CallOptions, guard: Watch): Promise<Answer> {
  const result = await guard.race(model.doGenerate(options))
  return {
    content: result.content,
    structuredOutputText: result.structuredOutputText,
    finishReason: result.finishReason,
    usage: result.usage,
    warnings: result.warnings,
    modelId: result.response?.modelId,
    responseId: result.response?.id,
  }
}

async function streamed(
  model: LanguageModelV4,
  options: LanguageModelV4CallOptions,
  guard: Watch,
  onText: (delta: string) => void,
  spend: (size: number) => void,
): Promise<Answer> {
  const { stream } = await guard.race(model.doStream(options))
  return collect(stream, { next: (part) => guard.race(part), onText, spend })
}

/** A second bound behind the one of `boundedFetch`, for provider packages that were set up without it. */
function budget(limit: number, what: string): (size: number) => void {
  let left = limit
  return (size) => {
    left -= size
    if (left < 0) throw tooLarge(what, limit)
  }
}

function sizeOf(part: Answer['content'][number]): number {
  if (part.type === 'text' || part.type === 'reasoning') return part.text.length
  return part.type === 'tool-call' ? part.input.length : 0
}
