import type { App, ConvokeError, LedgerRecord, RunRow } from 'convoke'

// Waits until a run has ended or nothing in this process can bring it further. A run that waits for a child is not
// there yet while the child goes on; a run that was continued is as far as the one that continues it.

const openStatus = ['queued', 'running', 'parked', 'stopped'] as const
const lookMs = 50

export async function settle(app: App, run: string): Promise<RunRow> {
  for (;;) {
    const handle = await app.run(run)
    const row = await handle.settled()
    if (row.status === 'continued') return settle(app, await nextOf(app, run))
    if (row.status !== 'parked' || row.parkedOn !== 'child') return row
    const children = (await app.runs({ status: openStatus, limit: 10_000 })).filter((r) => r.parent === run)
    const rows = await Promise.all(children.map((child) => settle(app, child.run)))
    const held = rows.filter((r) => r.status === 'parked' || r.status === 'stopped')
    const still = await handle.status()
    if (held.length > 0 && held.length === rows.length && still.status === 'parked' && still.parkedOn === 'child')
      return { ...row, ...(held[0]?.parkedOn === undefined ? {} : { parkedOn: held[0].parkedOn }) }
    // The last child has ended, and its message is on its way to the parent.
    await new Promise((resolve) => setTimeout(resolve, lookMs))
  }
}

async function nextOf(app: App, run: string): Promise<string> {
  const ledger = await app.ledger()
  const ref = { tenant: app.tenant, stream: `run/${run}` }
  const { seq } = await ledger.head(ref)
  const [record] = await ledger.read(ref, { from: seq, limit: 1 })
  return ((record as LedgerRecord).payload as { readonly next: string }).next
}

const patience = 3

/** Trouble that driving a run again in this process does not mend, as a promise that rejects with it. */
export function troubleOf(): {
  readonly heard: (run: string, error: ConvokeError) => void
  readonly of: (run: string) => Promise<never>
} {
  const known = new Map<string, { n: number; reject?: (error: ConvokeError) => void; error?: ConvokeError }>()
  const slotOf = (run: string): { n: number; reject?: (error: ConvokeError) => void; error?: ConvokeError } => {
    let slot = known.get(run)
    if (slot === undefined) known.set(run, (slot = { n: 0 }))
    return slot
  }
  return {
    heard(run, error) {
      const slot = slotOf(run)
      slot.n++
      const final = error.handling === 'usage' || error.handling === 'corrupt' || error.code === 'RECORD_UNSUPPORTED'
      if (!final && !(error.handling === 'unreachable' && slot.n >= patience)) return
      slot.error ??= error
      slot.reject?.(error)
    },
    of(run) {
      const slot = slotOf(run)
      const promise = new Promise<never>((_, reject) => {
        slot.reject = reject
        if (slot.error !== undefined) reject(slot.error)
      })
      promise.catch(() => undefined)
      return promise
    },
  }
}
