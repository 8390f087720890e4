import { Buffer } from 'node:buffer'
import { hash as digest } from 'node:crypto'

/** SHA-256 (FIPS 180-4) as 64 lower-case hexadecimal digits. */
export function sha256(data: string | Uint8Array): string {
  return digest('sha256', data, 'hex')
}

const blockBytes = 64
const digestBytes = 32

/**
 * HMAC-SHA-256 (RFC 2104) under one key, as hexadecimal, of a text's UTF-8 bytes. The padded keys are made once, and a
 * text costs two one-shot digests, which for short ones is a tenth of what `createHmac` costs.
 */
export function hmacKey(key: Uint8Array): (data: string) => string {
  const padded = new Uint8Array(blockBytes)
  padded.set(key.length > blockBytes ? digest('sha256', key, 'buffer') : key)
  const inner = Buffer.alloc(1024)
  const outer = Buffer.alloc(blockBytes + digestBytes)
  for (let i = 0; i < blockBytes; i++) {
    inner[i] = (padded[i] as number) ^ 0x36
    outer[i] = (padded[i] as number) ^ 0x5c
  }
  // Nothing is awaited between writing a buffer and reading it, so calls can share them.
  return (data) => {
    let message = inner
    // A UTF-16 code unit takes at most three bytes.
    if (data.length * 3 > inner.length - blockBytes) {
      message = Buffer.allocUnsafe(blockBytes + Buffer.byteLength(data))
      message.set(inner.subarray(0, blockBytes))
    }
    const end = blockBytes + message.write(data, blockBytes)
    // Through text, since handing out a Buffer costs more than the digest itself.
    outer.write(digest('sha256', message.subarray(0, end), 'hex'), blockBytes, 'hex')
    return digest('sha256', outer, 'hex')
  }
}

/** HMAC-SHA-256 as hexadecimal; `hmacKey` is faster where a key is used more than once. */
export function hmac(key: Uint8Array | string, data: string): string {
  return hmacKey(typeof key === 'string' ? Buffer.from(key) : key)(data)
}
