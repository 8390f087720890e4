import { startErp } from './erp/start.ts'

export interface Effect {
  readonly method: string
  readonly path: string
  readonly effect: string
  readonly run: string
}

export interface Books {
  /** Every change of the books, sorted: what was applied, not what was asked for. */
  readonly effects: readonly Effect[]
  readonly calls: number
  /** Calls that the ERP recognised as repeats of one that it had applied. */
  readonly repeated: number
  readonly repeatedEffects: number
  readonly payments: readonly string[]
}

/** Asks the ERP itself, in a process of its own, what happened to its books. */
export async function readBooks(dataDir: string): Promise<Books> {
  const erp = await startErp({ dataDir, waitLockMs: 15_000 })
  try {
    const get = async <T>(path: string): Promise<T> => (await (await fetch(new URL(path, erp.url))).json()) as T
    const audit =
      await get<
        readonly { method: string; path: string; effect: string | null; run: string | null; applied: string }[]
      >('/audit')
    const summary = await get<{ calls: number; repeated: number; repeatedEffects: number }>('/audit/summary')
    const { items } = await get<{
      items: readonly {
        vendor: string
        invoice: string
        po: string
        amount: string
        currency: string
        status: string
        kind: string
      }[]
    }>('/payments')
    return {
      effects: audit
        .filter((entry) => entry.applied === 'applied')
        .map(({ method, path, effect, run }) => ({ method, path, effect: effect ?? '', run: run ?? '' }))
        .sort((a, b) => JSON.stringify(a).localeCompare(JSON.stringify(b))),
      calls: summary.calls,
      repeated: summary.repeated,
      repeatedEffects: summary.repeatedEffects,
      payments: items
        .filter((p) => p.status === 'applied')
        .map((p) => `${p.kind} ${p.vendor} ${p.invoice} ${p.po} ${p.amount} ${p.currency}`)
        .sort(),
    }
  } finally {
    await erp.stop()
  }
}
