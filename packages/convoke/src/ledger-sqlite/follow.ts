import type { LedgerRecord } from '../core/record.ts'
import type { ChangeListener, Position } from '../ports/ledger.ts'
import type { Client } from './client.ts'
import { fromPage, type Shape } from './wire.ts'

// Owns who listens on this ledger: callbacks for changes, and iterators that follow the records. The thread is told
// whether anyone does, and watches files only then.

export interface Followed {
  readonly position: Position
  readonly record: LedgerRecord
}

export interface Followers {
  onChange(listener: ChangeListener): () => void
  watch(tenant: string, after: Position | 'now' | undefined): AsyncIterable<Followed>
  close(): void
}

const pageSize = 500

export function createFollowers(client: Client, shapes: Map<number, Shape>): Followers {
  const listeners = new Set<ChangeListener>()
  const asleep = new Set<() => void>()
  let following = 0
  let ended = false

  client.onNews(({ changed, grown }) => {
    if (grown) wakeAll()
    if (changed === false) return
    const refs = changed === true ? undefined : changed.map(([tenant, stream]) => ({ tenant, stream }))
    for (const listener of listeners) listener(refs)
  })
  client.onClosed(end)

  function wakeAll(): void {
    for (const wake of asleep) wake()
    asleep.clear()
  }

  function end(): void {
    ended = true
    listeners.clear()
    wakeAll()
  }

  function interest(): Promise<unknown> {
    if (client.closed) return Promise.resolve()
    // Closed in between: then there is nothing to hear either.
    return client.call('interest', listeners.size > 0, following > 0).catch(() => undefined)
  }

  function follow(tenant: string, after: Position | 'now'): AsyncIterator<Followed> {
    let position = after
    let ready: Followed[] = []
    let letGo: (() => void) | undefined
    let done = false
    let wake: (() => void) | undefined

    async function begin(): Promise<void> {
      letGo = client.hold()
      following += 1
      // Asked at once, so that whatever is called after this comes after the position.
      const [, now] = await Promise.all([interest(), position === 'now' ? client.call('position') : position])
      position = now
    }

    function finish(): void {
      if (done) return
      done = true
      wake?.()
      if (letGo === undefined) return
      following -= 1
      letGo()
      void interest()
    }

    async function pull(): Promise<void> {
      while (ready.length === 0 && !done && !ended) {
        // Armed before looking, so that what comes in meanwhile is not missed.
        const { promise: news, resolve } = Promise.withResolvers<void>()
        wake = resolve
        asleep.add(resolve)
        try {
          const page = await client.call('since', tenant, position as number, pageSize)
          ready = fromPage(page, { tenant }, shapes).reverse()
          const moved = page.next !== position
          position = page.next
          if (!moved) await news
        } finally {
          asleep.delete(resolve)
        }
      }
    }

    async function step(): Promise<IteratorResult<Followed, undefined>> {
      try {
        if (letGo === undefined && !done && !ended) await begin()
        await pull()
      } catch (error) {
        finish()
        if (client.closed) return { done: true, value: undefined }
        throw error
      }
      const value = done || ended ? undefined : ready.pop()
      if (value !== undefined) return { done: false, value }
      finish()
      return { done: true, value: undefined }
    }

    // Calls to `next` are served in their order, whether or not the caller awaits each; the first begins at once.
    let turn: Promise<unknown> | undefined
    return {
      next() {
        const mine = turn === undefined ? step() : turn.then(step)
        turn = mine.catch(() => undefined)
        return mine
      },
      return: () => {
        finish()
        return Promise.resolve({ done: true, value: undefined })
      },
    }
  }

  return {
    onChange(listener) {
      // The same function twice is two subscriptions.
      const own: ChangeListener = (changed) => listener(changed)
      listeners.add(own)
      if (listeners.size === 1) void interest()
      return () => {
        if (listeners.delete(own) && listeners.size === 0) void interest()
      }
    },
    watch: (tenant, after = 0) => ({ [Symbol.asyncIterator]: () => follow(tenant, after) }),
    close: end,
  }
}
