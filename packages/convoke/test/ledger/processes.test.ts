import { describe, expect, it, vi } from 'vitest'
import type { Ledger } from '../../src/ports/ledger.ts'
import { stop } from '../durable/stop.ts'
import { codeOf, errorOf, run, withStore, type Child } from './support.ts'

// Starting a process takes seconds on a busy machine.
vi.setConfig({ testTimeout: 90_000 })

/** Stored: everything acknowledged, and nothing that does not chain (reading proves it). */
async function expectAcknowledged(child: Child, open: () => Promise<Ledger>): Promise<void> {
  const ledger = await open()
  const records = await ledger.read(run('a'), { limit: 10_000 })
  const acked = child.lines.flatMap((line) => (typeof line['acked'] === 'number' ? [line] : []))
  for (const { acked: seq, hash } of acked) expect(records[Number(seq) - 1]?.hash).toBe(hash)
  // At most the one that was under way is there beyond that.
  if (acked.length > 0) expect(records.length - Number(acked.at(-1)?.['acked'])).toBeLessThanOrEqual(1)
  await ledger.close()
}

/** In the ledger's thread, in the caller's, while it moves, and as it comes. */
const places = ['never', 'only', 6, undefined] as const

describe('killed writers', () => {
  const cases = places.flatMap((where) =>
    (['commit.before', 'commit.after'] as const).flatMap((point) =>
      [1, 4, 9].map((occurrence) => ({ point, occurrence, where })),
    ),
  )
  for (const { point, occurrence, where } of cases)
    it(`lose nothing acknowledged when killed at ${point}, time ${occurrence} (here: ${where ?? 'unless said'})`, async () => {
      await withStore(async ({ child, open }) => {
        const writer = child({
          task: 'append',
          id: 'a',
          crashAt: { point, occurrence },
          ...(where === undefined ? {} : { where }),
        })
        expect(await writer.ended).toBe('SIGKILL')
        await expectAcknowledged(writer, open)
        const ledger = await open()
        // Commits of the child: start, register, claim, then one a step.
        const stored = (await ledger.head(run('a'))).seq
        const commits = point === 'commit.after' ? occurrence : occurrence - 1
        expect(stored).toBe(commits === 0 ? 0 : Math.max(1, commits - 2))
        expect(writer.lines.length).toBe(Math.max(0, occurrence - 4))
      })
    })

  it('lose nothing acknowledged when killed at any time, and the next goes on at once', async () => {
    await withStore(async ({ child, open }) => {
      const ledger = await open()
      await ledger.register('next')
      for (let round = 0; round < 4; round++) {
        const writer = child({ task: 'append', id: `k${round}`, count: 10_000, leaseMs: 60_000 })
        for (let i = 0; i < 5 + round * 7; i++) await writer.next('acked')
        writer.process.kill('SIGKILL')
        await writer.ended
        const records = await ledger.read(run(`k${round}`), { limit: 10_000 })
        for (const { acked, hash } of writer.lines) expect(records[Number(acked) - 1]?.hash).toBe(hash)
        // No lease of 60 seconds is waited for: the lock on the worker's file went with its process.
        expect((await ledger.ready({ now: Date.now(), limit: 9 })).map(({ ref }) => ref.stream)).toContain(
          `run/k${round}`,
        )
        expect((await ledger.claim(run(`k${round}`), 'next')).epoch).toBe(2)
      }
    })
  })
})

describe('stopped workers', () => {
  it('lose their runs after a lease, and are refused when they come back', async () => {
    await withStore(async ({ child, dir, open }) => {
      const zombie = child({ task: 'own', id: 'z', leaseMs: 1_500 })
      expect(await zombie.next('claimed')).toEqual({ claimed: 1 })
      zombie.tell('append')
      expect(await zombie.next('append')).toEqual({ append: 'ok' })
      zombie.tell('settle')
      await zombie.next('settled')
      const ledger = await open()
      await ledger.register('heir')
      const owned = await errorOf(ledger.claim(run('z'), 'heir'))
      expect(owned.code).toBe('RUN_OWNED')
      expect(owned.details).toMatchObject({ pid: zombie.process.pid, worker: 'w-z-1' })

      await stop(zombie.process, dir)
      let epoch = 0
      // Observed to be silent for a lease; at most a few more beats of it are on their way.
      for (let tries = 0; epoch === 0 && tries < 200; tries++) {
        const claimed = await ledger.claim(run('z'), 'heir').catch(() => undefined)
        epoch = claimed?.epoch ?? 0
        if (epoch === 0) await new Promise((resolve) => setTimeout(resolve, 50))
      }
      expect(epoch).toBe(2)
      expect(await ledger.isAlive('w-z-1')).toBe(false)

      zombie.process.kill('SIGCONT')
      zombie.tell('append')
      expect(await zombie.next('append')).toEqual({ append: 'EPOCH_STALE' })
      zombie.tell('remaining')
      expect(Number((await zombie.next('remaining'))['remaining'])).toBeLessThanOrEqual(0)
      zombie.tell('claim')
      expect(await zombie.next('claim')).toEqual({ claim: 'LEASE_EXPIRED' })
      expect((await ledger.head(run('z'))).seq).toBe(2)
      zombie.tell('end')
      expect(await zombie.ended).toBe(0)
    })
  })

  it('have a longer lease while they start, when nobody but the busy thread could renew it', async () => {
    await withStore(async ({ child, open }) => {
      const worker = child({ task: 'own', id: 'z', leaseMs: 1_000 })
      await worker.next('claimed')
      worker.tell('remaining')
      const early = Number((await worker.next('remaining'))['remaining'])
      worker.tell('settle')
      await worker.next('settled')
      worker.tell('remaining')
      const later = Number((await worker.next('remaining'))['remaining'])
      // The first is a minute, unless this machine was slow enough for the thread to be up by then.
      expect(early).toBeLessThanOrEqual(60_000)
      expect(later).toBeGreaterThan(0)
      expect(later).toBeLessThanOrEqual(1_000)
      worker.process.kill('SIGKILL')
      await worker.ended
      // Its end is seen at once all the same.
      const ledger = await open()
      await ledger.register('heir')
      expect((await ledger.claim(run('z'), 'heir')).epoch).toBe(2)
    })
  })

  it('find their own lease passed although nobody took over, and go on as a new incarnation', async () => {
    await withStore(async ({ child, dir, open }) => {
      const worker = child({ task: 'own', id: 'z', leaseMs: 1_200 })
      await worker.next('claimed')
      worker.tell('settle')
      await worker.next('settled')
      await stop(worker.process, dir)
      await new Promise((resolve) => setTimeout(resolve, 2_000))
      worker.process.kill('SIGCONT')
      worker.tell('append')
      expect(await worker.next('append')).toEqual({ append: 'LEASE_EXPIRED' })
      worker.tell('again')
      expect(await worker.next('claimed')).toEqual({ claimed: 2 })
      worker.tell('append')
      expect(await worker.next('append')).toEqual({ append: 'ok' })
      const ledger = await open()
      expect((await ledger.head(run('z'))).seq).toBe(2)
    })
  })

  it('keep their runs through many leases while they live', async () => {
    await withStore(async ({ child, open }) => {
      const worker = child({ task: 'own', id: 'z', leaseMs: 1_500 })
      await worker.next('claimed')
      const ledger = await open()
      await ledger.register('heir')
      for (let i = 0; i < 40; i++) {
        expect(await codeOf(ledger.claim(run('z'), 'heir'))).toBe('RUN_OWNED')
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
      worker.tell('remaining')
      expect(Number((await worker.next('remaining'))['remaining'])).toBeGreaterThan(0)
    })
  })
})

describe('two processes on one folder', () => {
  it('each get through, and agree', async () => {
    await withStore(async ({ child, open }) => {
      const count = 150
      const workers = ['a', 'b'].map((id) => child({ task: 'mix', id, count }))
      const ends = await Promise.all(workers.map((worker) => worker.ended))
      expect(ends).toEqual([0, 0])
      const codes = workers.map((worker) => worker.lines[0]?.['codes'] as Record<string, number>)
      for (const each of codes) expect(each['ok']).toBe(3 * count)
      const counted = codes.map((each) => each['counter ok'] ?? 0)
      expect(counted[0]! + counted[1]!).toBe(count)
      const ledger = await open()
      for (const id of ['a', 'b']) expect((await ledger.read(run(id), { limit: 1_000 })).length).toBe(count + 1)
      const shared = await ledger.read({ tenant: 'acme', stream: 'inbox/shared' }, { limit: 1_000 })
      expect(shared.length).toBe(3 * count)
    })
  })

  it('hear of each other', async () => {
    await withStore(async ({ child, open }) => {
      const watcher = child({ task: 'watch', id: 'w' })
      await watcher.next('started')
      const ledger = await open()
      const message = { type: 'signal', at: 1, actor: { kind: 'system', id: 'x' }, payload: null } as const
      for (let i = 1; i <= 5; i++) {
        await ledger.post({ tenant: 'acme', stream: 'inbox/r' }, { ...message, id: `m${i}` })
        expect(await watcher.next('seen')).toEqual({ seen: `inbox/r@${i}` })
      }
      expect(watcher.process.exitCode).toBe(null)
    })
  })

  it('end by themselves when they have nothing to do, closed or not', async () => {
    await withStore(async ({ child, open }) => {
      const idle = child({ task: 'linger', id: 'l' })
      expect(await idle.ended).toBe(0)
      const ledger = await open()
      expect((await ledger.read(run('l'))).length).toBe(1)
    })
  })
})
