import type { LanguageModelV3, LanguageModelV4, LanguageModelV4CallOptions } from '@ai-sdk/provider'
import type { JsonObject } from '../core/json.ts'
import type { ModelRequest, ModelResponse } from '../ports/model.ts'
import { modelError, silent, tooLarge, type FailureContext } from './failures.ts'
import { wireNames } from './names.ts'
import { toCallOptions } from './request.ts'
import { toResponse, type Answer } from './response.ts'
import { collect } from './stream.ts'
import { watch, type Watch } from './watch.ts'

/** A provider package's model, and how it is to be asked. */
export interface AskedModel {
  readonly model: LanguageModelV4 | LanguageModelV3
  readonly provider: string
  readonly failures: FailureContext
  readonly limits: { readonly idleMs: number; readonly maxBytes: number }
  readonly providerOptions?: JsonObject
}

/** One request through a provider package, as `fromAiSdk` promises it. */
export async function askAiSdk(
  { model, provider, failures, limits, providerOptions }: AskedModel,
  request: ModelRequest,
  call: { readonly signal: AbortSignal; readonly onText?: (delta: string) => void },
): Promise<ModelResponse> {
  call.signal.throwIfAborted()
  // The two versions differ in how file data is written, which request.ts and response.ts know.
  const v4 = model as LanguageModelV4
  const names = wireNames(request)
  const { options: wire, warnings } = toCallOptions(request, {
    names,
    provider,
    version: model.specificationVersion,
    ...(providerOptions === undefined ? {} : { providerOptions }),
  })
  const guard = watch(call.signal, limits.idleMs, () => silent(limits.idleMs, failures))
  const spend = budget(limits.maxBytes, failures.model)
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
