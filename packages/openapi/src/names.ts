import { createHash } from 'node:crypto'
import type { Listed } from './operation.ts'

// A tool's name is part of fingerprints, policies and idempotency keys: it depends on the document alone, never on
// which operations were chosen nor in which order they stand.

const longest = 64

/**
 * Names of all operations: prefix and id in letters, digits, `_` and `-`, 64 characters at most, all different. What
 * would be cut or would clash ends in a hash of method and path.
 */
export function toolNames(prefix: string, operations: readonly Listed[]): ReadonlyMap<Listed, string> {
  const wishes = new Map<Listed, string>()
  const times = new Map<string, number>()
  for (const operation of operations) {
    const wish = wished(prefix, operation.id)
    wishes.set(operation, wish)
    const key = wish.toLowerCase()
    times.set(key, (times.get(key) ?? 0) + 1)
  }
  return new Map(
    operations.map((operation) => {
      const wish = wishes.get(operation) as string
      const alone = times.get(wish.toLowerCase()) === 1
      return [operation, alone && wish.length <= longest ? wish : hashed(wish, operation)]
    }),
  )
}

function wished(prefix: string, id: string): string {
  const plain = id
    .normalize('NFKD')
    .replace(/[^A-Za-z0-9_-]+/g, '_')
    .replace(/^_+|_+$/g, '')
  return prefix === '' ? plain.replace(/^[^A-Za-z]+/, '') || 'operation' : `${prefix}_${plain}`
}

function hashed(wish: string, { method, path }: Listed): string {
  const hash = createHash('sha256').update(`${method} ${path}`).digest('hex').slice(0, 8)
  return `${wish.slice(0, longest - hash.length - 1)}_${hash}`
}
