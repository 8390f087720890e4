import { ConvokeError, isEnded, type Json, type JsonObject, type Ledger, type RunRow } from 'convoke'
import { duration, showRun, spent, waitsFor } from 'convoke/views'

/** How a run stands after it was driven, ready to be printed. */
export interface Ended {
  readonly row: RunRow
  readonly result: Json | undefined
  readonly error: ConvokeError | undefined
  readonly waits: string
  /** One line a question that is open. */
  readonly asks: readonly string[]
  readonly took: string
  readonly spent: string
  readonly next: string
  /** Of a fork: what it executed again, and what it kept of its original. */
  readonly fork: { readonly again: readonly string[]; readonly kept: readonly string[] } | undefined
  /** The same for programs. */
  readonly data: JsonObject
}

export async function endOf(ledger: Ledger, tenant: string, row: RunRow, now: number): Promise<Ended> {
  const shown = await showRun(ledger, tenant, row.run, now)
  const { error } = shown
  const used = spent(shown.usage)
  const people = shown.waiting.flatMap((w) => (w.kind === 'person' ? [w] : []))
  const waits = isEnded(row.status) || row.status === 'stopped' ? '' : waitsFor(row.parkedOn ?? 'person')
  return {
    row,
    result: shown.result,
    error:
      error === undefined
        ? undefined
        : new ConvokeError(error.code, error.message, {
            ...(error.details === undefined ? {} : { details: error.details }),
            next: row.status === 'stopped' ? (error.next ?? shown.next) : `convoke why ${row.run}`,
          }),
    waits,
    asks: people.map((p) => `${p.id}  ${p.title}${p.group === undefined ? '' : `  (${p.group})`}`),
    took: duration(shown.ms),
    spent: used.length === 0 ? '' : ` · ${used.join(' · ')}`,
    next: shown.next,
    fork: shown.fork,
    data: {
      run: row.run,
      status: row.status,
      ...(row.parkedOn === undefined ? {} : { parkedOn: row.parkedOn }),
      ...(row.due === undefined ? {} : { due: row.due }),
      ...(shown.result === undefined ? {} : { result: shown.result }),
      ...(error === undefined ? {} : { error: error as unknown as Json }),
      ...(shown.fork === undefined ? {} : { again: shown.fork.again, kept: shown.fork.kept }),
      ...(shown.waiting.length === 0 ? {} : { waiting: shown.waiting as unknown as Json }),
      next: shown.next,
    },
  }
}
