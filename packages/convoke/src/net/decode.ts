import type { Readable } from 'node:stream'
import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib'
import { ConvokeError } from '../core/errors.ts'
import type { NetworkRequest } from '../ports/network.ts'

/** More than one layer has no use but to make a small message large. */
const maxLayers = 1

/**
 * The body as it was before it was encoded for the way, in pieces. Counts both what travels and what comes out of it, and
 * stops at the bound: a bomb is never unpacked.
 */
export async function* decoded(
  request: Pick<NetworkRequest, 'maxBytes' | 'signal' | 'method'>,
  encoding: string | null,
  incoming: Readable,
): AsyncGenerator<Uint8Array, void, undefined> {
  const layers = (encoding ?? '')
    .split(',')
    .map((layer) => layer.trim().toLowerCase())
    .filter((layer) => layer !== '' && layer !== 'identity')
  if (layers.length > maxLayers || layers.some((layer) => !known.has(layer))) {
    incoming.destroy()
    throw unreadable(`its encoding is ${layers.join(', ').slice(0, 100)}`)
  }
  const bounded = count(incoming, request.maxBytes)
  const [layer] = layers
  try {
    if (layer === undefined || request.method === 'HEAD') yield* bounded
    else yield* unpacked(bounded, layer, request.maxBytes)
  } catch (error) {
    if (error instanceof ConvokeError) throw error
    if (request.signal.aborted) throw request.signal.reason
    const { code } = error as { code?: unknown }
    if (typeof code === 'string' && /^Z_|^ERR__?ZLIB|^ERR_BROTLI|^ERR_PADDING|^ERR__ERROR/.test(code))
      throw unreadable('it is not encoded as it says')
    throw error
  } finally {
    incoming.destroy()
  }
}

const known = new Set(['gzip', 'x-gzip', 'deflate', 'br'])

async function* count(chunks: AsyncIterable<Uint8Array>, max: number): AsyncGenerator<Uint8Array, void, undefined> {
  let length = 0
  for await (const chunk of chunks) {
    length += chunk.byteLength
    if (length > max)
      throw new ConvokeError('TOOL_RESULT_TOO_LARGE', `the answer is longer than ${max} bytes`, {
        details: { maxResultBytes: max },
        next: 'ask for less (a page, a range), or raise maxResultBytes of the tool',
      })
    yield chunk
  }
}

async function* unpacked(
  packed: AsyncIterable<Uint8Array>,
  layer: string,
  max: number,
): AsyncGenerator<Uint8Array, void, undefined> {
  const unpack = layer === 'br' ? createBrotliDecompress() : layer === 'deflate' ? createInflate() : createGunzip()
  const feed = (async () => {
    for await (const chunk of packed) {
      if (unpack.destroyed) return
      if (!unpack.write(chunk))
        await new Promise<void>((resolve) => {
          unpack.once('drain', resolve)
          unpack.once('close', resolve)
        })
    }
    unpack.end()
  })()
  feed.catch((error: unknown) => unpack.destroy(error as Error))
  try {
    yield* count(unpack as AsyncIterable<Uint8Array>, max)
    await feed
  } finally {
    unpack.destroy()
  }
}

function unreadable(why: string): ConvokeError {
  return new ConvokeError('TOOL_OUTPUT_INVALID', `the answer cannot be read: ${why}`, {
    next: 'look at what the server sends',
  })
}
