import { claimRun, codeOf, errorOf, message, ref, startRun, withLedger, type Part } from './support.ts'

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
