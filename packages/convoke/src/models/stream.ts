import type {
  LanguageModelV4Content,
  LanguageModelV4StreamPart,
  SharedV4ProviderMetadata,
  SharedV4Warning,
} from '@ai-sdk/provider'
import type { Answer } from './response.ts'

/** Thrown for an error that came inside a stream whose status was fine; `sent` is what the provider wrote. */
export class StreamFailure extends Error {
  readonly sent: unknown
  constructor(sent: unknown) {
    super('the stream carried an error')
    this.sent = sent
  }
}

interface Block {
  readonly type: 'text' | 'reasoning'
  text: string
  providerMetadata?: SharedV4ProviderMetadata
}

export interface StreamHooks {
  /** Called before each wait for a part; races it against silence and abort. */
  readonly next: <T>(part: Promise<T>) => Promise<T>
  readonly onText: (delta: string) => void
  /** Counts characters; throws when the answer is larger than allowed. */
  readonly spend: (characters: number) => void
}

/** Puts a stream back together in the order in which its blocks began. */
export async function collect(stream: ReadableStream<LanguageModelV4StreamPart>, hooks: StreamHooks): Promise<Answer> {
  const content: (LanguageModelV4Content | Block)[] = []
  const blocks = new Map<string, Block>()
  let warnings: readonly SharedV4Warning[] = []
  let meta: { id?: string; modelId?: string } = {}
  const reader = stream.getReader()
  try {
    for (;;) {
      const { done, value: part } = await hooks.next(reader.read())
      if (done) throw new StreamFailure({ type: 'stream_ended', message: 'the stream ended before the answer did' })
      switch (part.type) {
        case 'stream-start':
          warnings = part.warnings
          break
        case 'response-metadata':
          meta = { ...meta, ...part }
          break
        case 'text-start':
        case 'reasoning-start': {
          const block: Block = { type: part.type === 'text-start' ? 'text' : 'reasoning', text: '' }
          blocks.set(`${block.type}:${part.id}`, block)
          content.push(block)
          merge(block, part.providerMetadata)
          break
        }
        case 'text-delta':
        case 'reasoning-delta': {
          const block = blocks.get(`${part.type === 'text-delta' ? 'text' : 'reasoning'}:${part.id}`)
          hooks.spend(part.delta.length)
          if (block !== undefined) block.text += part.delta
          merge(block, part.providerMetadata)
          if (part.type === 'text-delta' && part.delta !== '') hooks.onText(part.delta)
          break
        }
        case 'text-end':
        case 'reasoning-end':
          merge(blocks.get(`${part.type === 'text-end' ? 'text' : 'reasoning'}:${part.id}`), part.providerMetadata)
          break
        case 'tool-input-delta':
          hooks.spend(part.delta.length)
          break
        case 'tool-call':
          hooks.spend(part.input.length)
          content.push(part)
          break
        case 'file':
        case 'reasoning-file':
        case 'source':
        case 'custom':
        case 'tool-result':
        case 'tool-approval-request':
          content.push(part)
          break
        case 'error':
          throw new StreamFailure(part.error)
        case 'finish':
          return {
            content: content as LanguageModelV4Content[],
            finishReason: part.finishReason,
            usage: part.usage,
            warnings,
            modelId: meta.modelId,
            responseId: meta.id,
          }
        default:
          // `ping`, `raw` and kinds to come: signs of life, nothing to keep
          break
      }
    }
  } finally {
    // Closes the connection when the answer is not wanted any more; after the end it does nothing.
    reader.cancel().catch(() => {})
  }
}

/** Signatures and encrypted reasoning come at a block's end, ids at its start: later keys win, none is lost. */
function merge(block: Block | undefined, metadata: SharedV4ProviderMetadata | undefined): void {
  if (block === undefined || metadata === undefined) return
  const merged: SharedV4ProviderMetadata = { ...block.providerMetadata }
  for (const [provider, values] of Object.entries(metadata)) merged[provider] = { ...merged[provider], ...values }
  block.providerMetadata = merged
}
