import type { LanguageModelV3, LanguageModelV4 } from '@ai-sdk/provider'
import type { JsonObject } from '../core/json.ts'
import type { Model } from '../ports/model.ts'

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
  const provider = model.provider.split('.', 1)[0] ?? model.provider
  const id = options.id ?? `${provider}/${model.modelId}`
  const asked = {
    provider,
    failures: { model: id, now: options.now ?? Date.now, secrets: options.secrets ?? [] },
    limits: { idleMs: options.idleTimeoutMs ?? 120_000, maxBytes: options.maxAnswerBytes ?? defaultAnswerBytes },
    ...(options.providerOptions === undefined ? {} : { providerOptions: options.providerOptions }),
  }
  return {
    id,
    provider,
    kind: 'provider',
    async generate(request, call) {
      call.signal.throwIfAborted()
      const { askAiSdk } = await import('./ask-ai-sdk.ts')
      return await askAiSdk({ ...asked, model }, request, call)
    },
  }
}
