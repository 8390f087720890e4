import { isConvokeError } from '../core/errors.ts'
import type { Ledger, StreamRef } from '../ports/ledger.ts'
import { createChain, type ChainDraft } from './chain.ts'

/** Drives runs as a real worker does: claims, appends, gives back. */
export interface SuiteWorker {
  /** Streams in the order they were tried, finished and parked. */
  readonly tried: string[]
  readonly done: string[]
  readonly parked: string[]
  /** What a driven run writes next; it completes unless said. */
  next: (run: StreamRef) => ChainDraft
  readonly drive: (run: StreamRef, signal: AbortSignal) => Promise<'done' | 'parked' | 'lost'>
}

export async function createWorker(ledger: Ledger, id: string): Promise<SuiteWorker> {
  await ledger.register(id)
  const worker: SuiteWorker = {
    tried: [],
    done: [],
    parked: [],
    next: () => ({ type: 'run.completed', payload: {} }),
    async drive(run) {
      worker.tried.push(run.stream)
      try {
        const claim = await ledger.claim(run, id)
        const [last] = await ledger.read(run, { from: claim.seq })
        if (last?.type === 'run.completed') return 'done'
        const draft = worker.next(run)
        const record = createChain(run, claim).next(draft)
        await ledger.append([{ ref: run, epoch: claim.epoch, records: [record] }])
        await ledger.release(run, claim.epoch)
        const list = draft.type === 'run.completed' ? worker.done : worker.parked
        list.push(run.stream)
        return draft.type === 'run.completed' ? 'done' : 'parked'
      } catch (error) {
        if (isConvokeError(error)) return 'lost'
        throw error
      }
    },
  }
  return worker
}
