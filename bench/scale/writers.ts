/** Runs that only append: the ledger's part of a step, without the engine around it. */
import type { openPostgresLedger } from '@convoke/postgres'
import { createChain, type Chain } from 'convoke/testing'
import { payload } from '../report.ts'

export type Ledger = Awaited<ReturnType<typeof openPostgresLedger>>

export interface Writer {
  readonly chain: Chain
  claim(): Promise<void>
  release(): Promise<void>
  /** Appends one record of a kilobyte, as a plain step does. */
  step(): Promise<void>
}

const text = payload(1000, 7)

export async function openWriter(ledger: Ledger, id: string, worker: string): Promise<Writer> {
  const chain = createChain({ tenant: 'local', stream: `run/${id}` })
  const started = chain.next({ type: 'run.started', payload: { workflow: 'bench', version: '1' } })
  await ledger.append([{ ref: chain.ref, epoch: 0, records: [started] }])
  let epoch = 0
  const writer: Writer = {
    chain,
    async claim() {
      const claim = await ledger.claim(chain.ref, worker)
      epoch = claim.epoch
      chain.follow(claim)
    },
    release: () => ledger.release(chain.ref, epoch),
    async step() {
      const record = chain.next({
        type: 'step.completed',
        path: `step-${chain.head.seq}`,
        causes: [{ kind: 'control', ref: `${chain.ref.stream}@${chain.head.seq}` }],
        payload: { value: text },
      })
      await ledger.append([{ ref: chain.ref, epoch, records: [record] }])
    },
  }
  await writer.claim()
  return writer
}
