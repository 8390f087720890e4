import type { Ledger, LedgerRecord } from 'convoke'

const page = 500
const lookMs = 250

/** A run's records from the first, then as they are committed, until its end or until the signal aborts. */
export async function* follow(
  ledger: Ledger,
  tenant: string,
  run: string,
  signal: AbortSignal,
  from = 1,
): AsyncGenerator<LedgerRecord> {
  let ring: (() => void) | undefined
  const off = ledger.onChange(() => ring?.())
  const aborted = (): void => ring?.()
  signal.addEventListener('abort', aborted)
  try {
    for (let next = from; !signal.aborted;) {
      const records = await ledger.read({ tenant, stream: `run/${run}` }, { from: next, limit: page })
      for (const record of records) {
        next = record.seq + 1
        yield record
        if (/^run\.(completed|failed|cancelled|continued)$/.test(record.type)) return
      }
      // Steps are no news between processes, so a look now and then finds what nobody announces.
      if (records.length === 0 && !signal.aborted)
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, lookMs)
          ring = () => {
            clearTimeout(timer)
            resolve()
          }
        })
    }
  } finally {
    off()
    signal.removeEventListener('abort', aborted)
  }
}
