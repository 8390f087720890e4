import { randomBytes } from 'node:crypto'
import type { Clock, Ids } from '../ports/runtime.ts'
import { systemClock } from './clock.ts'

// One instance owns its last time, its counter and a pool of random bytes. Invariants: ids of one instance rise even
// when the clock stands still or goes back; no byte of the pool is used twice.

/** Crockford's base 32: no letter that is read as another; its order is ASCII's, so ids sort as text. */
const alphabet = '0123456789abcdefghjkmnpqrstvwxyz'
const timeDigits = 9
const randomDigits = 10
const saltBytes = 16
const poolBytes = saltBytes * 512

/** Ids of 19 characters: 45 bits of milliseconds (until the year 3084), then 50 random bits. */
export function systemIds(clock: Pick<Clock, 'now'> = systemClock): Ids {
  let lastTime = -1
  let tail = 0n
  let pool: Buffer = Buffer.alloc(0)
  let used = 0
  const take = (bytes: number): Buffer => {
    if (used + bytes > pool.length) {
      pool = randomBytes(poolBytes)
      used = 0
    }
    used += bytes
    return pool.subarray(used - bytes, used)
  }
  return {
    next() {
      const now = clock.now()
      if (now > lastTime) {
        lastTime = now
        // The top bit stays free, so that counting on within a millisecond cannot run over.
        tail = take(8).readBigUInt64BE() >> 15n
      } else tail++
      return base32(BigInt(lastTime), timeDigits) + base32(tail, randomDigits)
    },
    salt: () => take(saltBytes).toString('hex'),
  }
}

function base32(value: bigint, digits: number): string {
  let out = ''
  let rest = value
  for (let i = 0; i < digits; i++) {
    out = (alphabet[Number(rest & 31n)] ?? '') + out
    rest >>= 5n
  }
  return out
}
