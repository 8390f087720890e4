import { createHmac, hash as digest } from 'node:crypto'

/** SHA-256 (FIPS 180-4) as 64 lower-case hexadecimal digits. */
export function sha256(data: string | Uint8Array): string {
  return digest('sha256', data, 'hex')
}

/** HMAC-SHA-256 (RFC 2104) as hexadecimal. Fingerprints and idempotency keys use it, so short values cannot be guessed. */
export function hmac(key: Uint8Array | string, data: string): string {
  return createHmac('sha256', key).update(data).digest('hex')
}
