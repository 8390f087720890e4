import { runIdOf } from '../core/projections.ts'
import type { ChangeListener, Ledger, StreamRef } from '../ports/ledger.ts'

/**
 * What a ledger tells of, passed on to the driven runs that it may concern: of a run's own stream or its inbox, or of
 * anything. One listener at the ledger for all of them, since every commit would call each otherwise.
 */
interface News {
  watch(run: StreamRef, heard: () => void): () => void
}

const all = new WeakMap<Ledger, News>()

export function newsOf(ledger: Ledger): News {
  const known = all.get(ledger)
  if (known !== undefined) return known
  const news = createNews(ledger)
  all.set(ledger, news)
  return news
}

function createNews(ledger: Ledger): News {
  const watchers = new Map<string, Set<() => void>>()
  let unsubscribe: (() => void) | undefined
  const keyOf = ({ tenant, stream }: StreamRef): string => `${tenant}\n${runIdOf(stream)}`

  const tell: ChangeListener = (changed) => {
    const concerned =
      changed === undefined ? watchers.values() : changed.map((ref) => watchers.get(keyOf(ref)) ?? nobody)
    for (const set of concerned) for (const heard of set) heard()
  }

  return {
    watch(run, heard) {
      const key = keyOf(run)
      const own = (): void => heard()
      const set = watchers.get(key)
      if (set === undefined) watchers.set(key, new Set([own]))
      else set.add(own)
      unsubscribe ??= ledger.onChange(tell)
      return () => {
        const left = watchers.get(key)
        left?.delete(own)
        if (left?.size === 0) watchers.delete(key)
        if (watchers.size > 0) return
        unsubscribe?.()
        unsubscribe = undefined
      }
    },
  }
}

const nobody: ReadonlySet<() => void> = new Set()
