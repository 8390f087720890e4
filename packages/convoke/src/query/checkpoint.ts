import { createPrivateKey, createPublicKey, generateKeyPairSync, sign, verify, type KeyObject } from 'node:crypto'
import { canonicalize } from '../core/canonical.ts'
import { ConvokeError } from '../core/errors.ts'
import { sha256 } from '../core/hash.ts'
import type { Json, JsonObject } from '../core/json.ts'
import { object, type Readable } from './records.ts'

/**
 * What all streams of a tenant ended with at a time, signed with Ed25519 (RFC 8032) over the canonical JSON (RFC 8785)
 * of everything but `signature`. Kept outside the store, it shows later that nothing before it was changed.
 */
export interface Checkpoint {
  readonly kind: 'convoke-checkpoint'
  readonly v: 1
  readonly tenant: string
  /** Milliseconds since the epoch, by the clock of who signed. */
  readonly at: number
  readonly streams: number
  readonly records: number
  /** Sorted by stream. */
  readonly heads: readonly { readonly stream: string; readonly seq: number; readonly hash: string }[]
  /** First 16 hexadecimal digits of the SHA-256 of the public key. */
  readonly keyId: string
  /** SubjectPublicKeyInfo (RFC 8410), DER in base64. */
  readonly publicKey: string
  /** Base64. */
  readonly signature: string
}

/** A fresh signing key as PEM (PKCS#8), to be kept readable by its owner only. */
export function newSigningKey(): string {
  const { privateKey } = generateKeyPairSync('ed25519')
  return privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
}

/** The public half of a signing key, as it stands in checkpoints. @throws INPUT_INVALID */
export function publicKeyOf(signingKey: string): string {
  return spki(createPublicKey(asPrivateKey(signingKey)))
}

export function asPrivateKey(pem: string): KeyObject {
  try {
    const key = createPrivateKey(pem)
    if (key.asymmetricKeyType === 'ed25519') return key
  } catch {
    // Said below, for a key of another kind as well.
  }
  throw new ConvokeError('INPUT_INVALID', 'the signing key is not an Ed25519 private key in PEM', {
    next: 'make one with: openssl genpkey -algorithm ed25519',
  })
}

function spki(key: KeyObject): string {
  return (key.export({ type: 'spki', format: 'der' }) as Buffer).toString('base64')
}

const page = 1000

export async function allHeads(
  ledger: Readable,
  tenant: string,
): Promise<{ readonly stream: string; readonly seq: number; readonly hash: string }[]> {
  const heads: { stream: string; seq: number; hash: string }[] = []
  for (let after = ''; ;) {
    const more = await ledger.heads(tenant, { after, limit: page })
    heads.push(...more.filter((head) => head.seq > 0))
    if (more.length < page) break
    after = (more[more.length - 1] as { stream: string }).stream
  }
  return heads.sort((a, b) => (a.stream < b.stream ? -1 : a.stream > b.stream ? 1 : 0))
}

/**
 * Signs where all streams of a tenant stand, whatever their records are worth: see `exportCheckpoint`. `at` in
 * milliseconds. @throws INPUT_INVALID for a key that is none
 */
export async function signHeads(ledger: Readable, tenant: string, signingKey: string, at: number): Promise<Checkpoint> {
  return signCheckpoint(await allHeads(ledger, tenant), tenant, signingKey, at)
}

/** Signs where some streams stand, sorted by name. `at` in milliseconds. @throws INPUT_INVALID for a key that is none */
export function signCheckpoint(heads: Checkpoint['heads'], tenant: string, signingKey: string, at: number): Checkpoint {
  const key = asPrivateKey(signingKey)
  const publicKey = spki(createPublicKey(key))
  const body: Omit<Checkpoint, 'signature'> = {
    kind: 'convoke-checkpoint',
    v: 1,
    tenant,
    at: Math.floor(at),
    streams: heads.length,
    records: heads.reduce((sum, head) => sum + head.seq, 0),
    heads: heads.map(({ stream, seq, hash }) => ({ stream, seq, hash })),
    keyId: keyIdOf(publicKey),
    publicKey,
  }
  return { ...body, signature: sign(null, Buffer.from(canonicalize(body)), key).toString('base64') }
}

export function keyIdOf(publicKey: string): string {
  return sha256(Buffer.from(publicKey, 'base64')).slice(0, 16)
}

/** A checkpoint's shape; its signature is another question. @throws INPUT_INVALID */
export function parseCheckpoint(value: Json): Checkpoint {
  const file: JsonObject = object(value) ?? {}
  const heads = file['heads']
  const good =
    file['kind'] === 'convoke-checkpoint' &&
    file['v'] === 1 &&
    [file['tenant'], file['publicKey'], file['signature'], file['keyId']].every((f) => typeof f === 'string') &&
    Array.isArray(heads) &&
    (heads as readonly Json[]).every((head) => {
      const h = object(head)
      return typeof h?.['stream'] === 'string' && typeof h['hash'] === 'string' && Number.isSafeInteger(h['seq'])
    })
  if (good) return file as unknown as Checkpoint
  throw new ConvokeError('INPUT_INVALID', 'this is no checkpoint that this version can read', {
    details: { kind: file['kind'] ?? null, v: file['v'] ?? null },
    next: 'make one with: convoke audit export > checkpoint.json',
  })
}

/**
 * Whether the signature is right under a public key (PEM, or base64 of its DER); under the one in the file unless given.
 * @throws INPUT_INVALID for a key that is none
 */
export function isSigned(checkpoint: Checkpoint, trusted?: string): boolean {
  const { signature, ...body } = checkpoint
  const key = asPublicKey(trusted ?? checkpoint.publicKey)
  return verify(null, Buffer.from(canonicalize(body)), key, Buffer.from(signature, 'base64'))
}

export function asPublicKey(given: string): KeyObject {
  try {
    const key = given.includes('-----BEGIN')
      ? createPublicKey(given)
      : createPublicKey({ key: Buffer.from(given.trim(), 'base64'), format: 'der', type: 'spki' })
    if (key.asymmetricKeyType === 'ed25519') return key
  } catch {
    // Said below.
  }
  throw new ConvokeError('INPUT_INVALID', 'the public key is not an Ed25519 key in PEM or base64', {
    next: 'use what convoke audit export printed',
  })
}
