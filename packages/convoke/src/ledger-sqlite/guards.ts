import type { DatabaseSync } from 'node:sqlite'
import { ConvokeError } from '../core/errors.ts'
import type { WireGuard } from './protocol.ts'
import type { Memory } from './streams.ts'

/** Conditions of an append, checked and kept in its own savepoint. Each may be repeated without effect. */
export interface Guards {
  /** @throws UNIQUE_TAKEN, COUNTER_EXCEEDED, INBOX_ADVANCED */
  hold(guard: WireGuard): void
  owner(tenant: string, key: string): string | undefined
}

export function createGuards(db: DatabaseSync, memory: Memory): Guards {
  const findOwner = db.prepare('SELECT owner FROM uniques WHERE tenant = ? AND key = ?')
  const addOwner = db.prepare('INSERT INTO uniques(tenant, key, owner) VALUES (?, ?, ?)')
  const findCounted = db.prepare('SELECT added FROM counted WHERE tenant = ? AND counter = ? AND key = ?')
  const addCounted = db.prepare('INSERT INTO counted(tenant, counter, key, added) VALUES (?, ?, ?, ?)')
  const findTotal = db.prepare('SELECT total FROM counters WHERE tenant = ? AND counter = ?')
  const setTotal = db.prepare(
    'INSERT INTO counters(tenant, counter, total) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET total = excluded.total',
  )

  function owner(tenant: string, key: string): string | undefined {
    return (findOwner.get(tenant, key) as { owner: string } | undefined)?.owner
  }

  return {
    owner,
    hold(guard) {
      if (guard.kind === 'unique') {
        const found = owner(guard.tenant, guard.key)
        if (found === undefined) addOwner.run(guard.tenant, guard.key, guard.owner)
        else if (found !== guard.owner)
          throw new ConvokeError('UNIQUE_TAKEN', `the key ${JSON.stringify(guard.key)} belongs to ${found}`, {
            details: { key: guard.key, owner: found },
            next: `look at ${found}`,
          })
        return
      }
      if (guard.kind === 'counter') {
        const { tenant, counter, key, add, max } = guard
        if (findCounted.get(tenant, counter, key) !== undefined) return
        const total = (findTotal.get(tenant, counter) as { total: number } | undefined)?.total ?? 0
        if (add > max - total)
          throw new ConvokeError('COUNTER_EXCEEDED', `${counter} stands at ${total}; ${add} more would pass ${max}`, {
            details: { counter, total, add, max },
            next: 'raise the limit, or give back what is reserved and not needed',
          })
        addCounted.run(tenant, counter, key, add)
        setTotal.run(tenant, counter, total + add)
        return
      }
      const found = memory.find(guard.tenant, guard.stream)?.seq ?? 0
      if (found !== guard.seq)
        throw new ConvokeError('INBOX_ADVANCED', `${guard.stream} ends at ${found}, not at ${guard.seq}`, {
          details: { stream: guard.stream, expected: guard.seq, found },
          next: 'read what came in, then park again',
        })
    },
  }
}
