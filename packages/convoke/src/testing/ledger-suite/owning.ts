import { sha256 } from '../../core/hash.ts'
import type { Claim, StreamAppend } from '../../ports/ledger.ts'
import { createChain, type Chain } from '../chain.ts'
import { claimRun, codeOf, errorOf, message, ref, startRun, tenant, withLedger, type Part } from './support.ts'

export const owning: Part = ({ describe, it, expect }, open) => {
  describe('claim', () => {
    it(
      'gives a newer epoch, which shuts the older writer out',
      withLedger(open, async (ledger, { another }) => {
        const second = await another()
        const lease = await ledger.register('w1')
        await second.register('w2')
        const chain = await startRun(ledger, 'r1')
        const claim = await ledger.claim(chain.ref, 'w1')
        expect(claim).toEqual({ epoch: 1, ...chain.head })
        chain.follow(claim)
        await ledger.append([{ ref: chain.ref, epoch: 1, records: [chain.next({ type: 'step.completed' })] }])
        const owned = await errorOf(second.claim(chain.ref, 'w2'))
        expect(owned?.code).toBe('RUN_OWNED')
        expect(owned?.details).toMatchObject({ worker: 'w1', pid: process.pid })
        await lease.release()
        expect(await second.claim(chain.ref, 'w2')).toEqual({ epoch: 2, ...chain.head })
        const late = { ref: chain.ref, epoch: 1, records: [chain.next({ type: 'step.completed' })] }
        const error = await errorOf(ledger.append([late]))
        expect(error?.code).toBe('EPOCH_STALE')
        expect(error?.details).toMatchObject({ expected: 2, found: 1 })
      }),
    )

    it(
      'may be made again by the same worker',
      withLedger(open, async (ledger) => {
        await ledger.register('w1')
        const chain = await startRun(ledger, 'r1')
        expect(await claimRun(ledger, chain, 'w1')).toBe(1)
        expect(await claimRun(ledger, chain, 'w1')).toBe(2)
      }),
    )

    it(
      'is won by one of many',
      withLedger(open, async (ledger, { another }) => {
        const second = await another()
        await Promise.all([ledger.register('w1'), second.register('w2')])
        for (let i = 0; i < 10; i++) {
          const chain = await startRun(ledger, `r${i}`)
          const codes = await Promise.all([
            codeOf(ledger.claim(chain.ref, 'w1')),
            codeOf(second.claim(chain.ref, 'w2')),
          ])
          expect(codes.toSorted()).toEqual(['RUN_OWNED', 'none'])
        }
      }),
    )

    it(
      'needs a run and a living claimant',
      withLedger(open, async (ledger) => {
        const lease = await ledger.register('w1')
        expect(await codeOf(ledger.claim(ref('run/none'), 'w1'))).toBe('RUN_UNKNOWN')
        const chain = await startRun(ledger, 'r1')
        expect(await codeOf(ledger.claim(chain.ref, 'w2'))).toBe('LEASE_EXPIRED')
        await lease.release()
        expect(await codeOf(ledger.claim(chain.ref, 'w1'))).toBe('LEASE_EXPIRED')
      }),
    )

    it(
      'is needed to go on with a run, and to write to any claimed stream',
      withLedger(open, async (ledger) => {
        await ledger.register('w1')
        const chain = await startRun(ledger, 'r1')
        const unclaimed = { ref: chain.ref, epoch: 0, records: [chain.next({ type: 'step.completed' })] }
        expect(await codeOf(ledger.append([unclaimed]))).toBe('EPOCH_STALE')
        chain.follow(await ledger.claim(chain.ref, 'w1'))
        const record = chain.next({ type: 'step.completed' })
        expect(await codeOf(ledger.append([{ ref: chain.ref, epoch: 7, records: [record] }]))).toBe('EPOCH_STALE')
        expect(await codeOf(ledger.append([{ ref: chain.ref, epoch: 0, records: [record] }]))).toBe('EPOCH_STALE')
        await ledger.append([{ ref: chain.ref, epoch: 1, records: [record] }])
      }),
    )
  })

  describe('begin, where a ledger has it', () => {
    const fresh = (id: string, version = '1'): { readonly first: StreamAppend; readonly chain: Chain } => {
      const chain = createChain(ref(`run/${id}`))
      const started = chain.next({ type: 'run.started', at: 1_000, payload: { workflow: 'w', version } })
      return { first: { ref: chain.ref, epoch: 0, records: [started, chain.next({ type: 'run.input' })] }, chain }
    }

    it(
      'appends a run and claims it at once',
      withLedger(open, async (ledger, { another }) => {
        if (ledger.begin === undefined) return
        const second = await another()
        const lease = await ledger.register('w1')
        await second.register('w2')
        const { first, chain } = fresh('r1')
        const claim = await ledger.begin(first, 'w1')
        expect(claim).toEqual({ epoch: 1, ...chain.head })
        expect((await second.read(chain.ref)).map(({ type }) => type)).toEqual(['run.started', 'run.input'])
        expect((await second.run(chain.ref))?.status).toBe('running')
        expect(await second.ready({ now: 9_000, limit: 10 })).toEqual([])
        expect(await codeOf(second.claim(chain.ref, 'w2'))).toBe('RUN_OWNED')
        chain.follow(claim as Claim)
        await ledger.append([{ ref: chain.ref, epoch: 1, records: [chain.next({ type: 'step.completed' })] }])
        await lease.release()
        expect((await second.ready({ now: 9_000, limit: 10 })).length).toBe(1)
        expect((await second.claim(chain.ref, 'w2')).epoch).toBe(2)
      }),
    )

    it(
      'begins a run for whoever is ready when the worker cannot have it',
      withLedger(open, async (ledger) => {
        if (ledger.begin === undefined) return
        const lease = await ledger.register('w1')
        await lease.release()
        for (const worker of ['w1', 'nobody']) {
          const { first, chain } = fresh(worker)
          expect(await ledger.begin(first, worker)).toBe(undefined)
          expect(await ledger.head(chain.ref)).toEqual(chain.head)
        }
        expect((await ledger.ready({ now: 9_000, limit: 10 })).length).toBe(2)
      }),
    )

    it(
      'changes nothing of a run that somebody has, and refuses what append refuses',
      withLedger(open, async (ledger) => {
        if (ledger.begin === undefined) return
        await ledger.register('w1')
        await ledger.register('w2')
        const { first, chain } = fresh('r1')
        const claim = await ledger.begin(first, 'w1')
        chain.follow(claim as Claim)
        // Its own records again, from its worker and from another.
        expect(await ledger.begin(first, 'w1')).toBe(undefined)
        expect(await ledger.begin(first, 'w2')).toBe(undefined)
        await ledger.append([{ ref: chain.ref, epoch: 1, records: [chain.next({ type: 'step.completed' })] }])
        // Another run of that name.
        const other = fresh('r1', '2')
        const refused = await codeOf(ledger.begin(other.first, 'w2'))
        expect(['EPOCH_STALE', 'POSITION_STALE'].includes(refused)).toBe(true)
        expect(await codeOf(ledger.begin({ ...first, ref: ref('run/r2') }, 'w1'))).toBe('INPUT_INVALID')
        expect(await codeOf(ledger.begin({ ...first, ref: ref('run/r1', '') }, 'w1'))).toBe('TENANT_MISSING')
        expect((await ledger.head(chain.ref)).seq).toBe(3)
        // What append has begun, and nobody has claimed.
        const plain = fresh('r3')
        await ledger.append([plain.first])
        expect(await ledger.begin(plain.first, 'w2')).toEqual({ epoch: 1, ...plain.chain.head })
      }),
    )

    it(
      'stores the blobs that come with it',
      withLedger(open, async (ledger) => {
        if (ledger.begin === undefined) return
        await ledger.register('w1')
        const bytes = Buffer.from('large')
        const blob = { hash: sha256(bytes), bytes, mediaType: 'text/plain' }
        const chain = createChain(ref('run/r1'))
        const record = chain.next({ type: 'run.started', payload: { workflow: 'w', version: '1' }, blobs: [blob.hash] })
        const first = { ref: chain.ref, epoch: 0, records: [record] }
        expect(await codeOf(ledger.begin(first, 'w1'))).toBe('BLOB_MISSING')
        expect((await ledger.head(chain.ref)).seq).toBe(0)
        expect((await ledger.begin(first, 'w1', { blobs: [blob] }))?.epoch).toBe(1)
        expect(Buffer.from((await ledger.getBlob(tenant, blob.hash)) ?? []).toString()).toBe('large')
      }),
    )
  })

  describe('release', () => {
    it(
      'gives a run back, unless a newer epoch holds it',
      withLedger(open, async (ledger, { another }) => {
        const second = await another()
        await Promise.all([ledger.register('w1'), second.register('w2')])
        const chain = await startRun(ledger, 'r1')
        await claimRun(ledger, chain, 'w1')
        const newer = await claimRun(ledger, chain, 'w1')
        await ledger.release(chain.ref, newer - 1)
        expect(await codeOf(second.claim(chain.ref, 'w2'))).toBe('RUN_OWNED')
        await ledger.release(chain.ref, newer)
        expect((await second.claim(chain.ref, 'w2')).epoch).toBe(newer + 1)
        await ledger.release(ref('run/none'), 1)
      }),
    )
  })

  describe('leases', () => {
    it(
      'live from registration to release or close, for all to see',
      withLedger(open, async (ledger, { another }) => {
        const second = await another()
        expect(await second.isAlive('w1')).toBe(false)
        const lease = await ledger.register('w1')
        expect(lease.worker).toBe('w1')
        expect(lease.remaining() > 0).toBe(true)
        expect(await second.isAlive('w1')).toBe(true)
        expect(await ledger.isAlive('w1')).toBe(true)
        await lease.release()
        expect(lease.remaining() <= 0).toBe(true)
        expect(await second.isAlive('w1')).toBe(false)
        const other = await second.register('w2')
        expect(await ledger.isAlive('w2')).toBe(true)
        await second.close()
        expect(await ledger.isAlive('w2')).toBe(false)
        expect(other.remaining() <= 0).toBe(true)
      }),
    )

    it(
      'are of one incarnation',
      withLedger(open, async (ledger, { another }) => {
        const second = await another()
        await ledger.register('w1')
        expect(await codeOf(ledger.register('w1'))).toBe('INPUT_INVALID')
        expect(await codeOf(second.register('w1'))).toBe('INPUT_INVALID')
        await ledger.close()
        const lease = await second.register('w1')
        expect(lease.remaining() > 0).toBe(true)
      }),
    )

    it(
      'end with their ledger, whose runs are then ready at once',
      withLedger(open, async (ledger, { another }) => {
        const second = await another()
        await second.register('w2')
        await ledger.register('w1')
        const chain = await startRun(ledger, 'r1')
        await claimRun(second, chain, 'w2')
        expect(await ledger.ready({ now: 9_000, limit: 10 })).toEqual([])
        await second.close()
        expect((await ledger.ready({ now: 9_000, limit: 10 })).length).toBe(1)
        expect((await ledger.claim(chain.ref, 'w1')).epoch).toBe(2)
        await ledger.post(ref('inbox/r1'), message('m1'))
      }),
    )
  })
}
