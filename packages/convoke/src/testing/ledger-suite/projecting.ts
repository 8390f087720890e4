import type { Json } from '../../core/json.ts'
import type { Blob } from '../../core/record.ts'
import type { Ledger } from '../../ports/ledger.ts'
import { createChain, type Chain } from '../chain.ts'
import { claimRun, codeOf, message, person, ref, startRun, tenant, withLedger, type Part } from './support.ts'

async function add(
  ledger: Ledger,
  chain: Chain,
  epoch: number,
  type: string,
  payload: Json,
  at = 2_000,
): Promise<void> {
  const blobs: Blob[] = []
  const record = chain.next({ type, at, payload }, blobs)
  await ledger.append([{ ref: chain.ref, epoch, records: [record] }], { blobs })
}

const request = {
  id: 'ap1',
  kind: 'call',
  title: 'Pay',
  action: { amount: '10.00' },
  actionHash: 'h',
  group: 'finance',
}

export const projecting: Part = ({ describe, it, expect }, open) => {
  describe('runs', () => {
    it(
      'have the status that their records say',
      withLedger(open, async (ledger) => {
        await ledger.register('w1')
        const chain = await startRun(ledger, 'r1', {
          priority: 2,
          tags: ['x'],
          parent: 'p',
          root: 'p',
          notBefore: 1_500,
        })
        const status = async (): Promise<object | undefined> => {
          const row = await ledger.run(chain.ref)
          return row && { status: row.status, due: row.due, parkedOn: row.parkedOn, error: row.error }
        }
        expect(await ledger.run(chain.ref)).toEqual({
          tenant,
          run: 'r1',
          workflow: 'w',
          version: '1',
          status: 'queued',
          due: 1_500,
          priority: 2,
          tags: ['x'],
          startedAt: 1_000,
          updatedAt: 1_000,
          root: 'p',
          parent: 'p',
        })
        const epoch = await claimRun(ledger, chain, 'w1')
        expect(await status()).toEqual({ status: 'running', due: 1_500 })
        await add(ledger, chain, epoch, 'run.parked', { kind: 'timer', next: 9_000 })
        expect(await status()).toEqual({ status: 'parked', due: 9_000, parkedOn: 'timer' })
        await add(ledger, chain, epoch, 'run.resumed', {})
        expect(await status()).toEqual({ status: 'running', due: 9_000 })
        await add(ledger, chain, epoch, 'run.parked', { kind: 'person' })
        expect(await status()).toEqual({ status: 'parked', parkedOn: 'person' })
        await add(ledger, chain, epoch, 'run.stopped', { code: 'REPLAY_DIVERGED' })
        expect(await status()).toEqual({ status: 'stopped', error: 'REPLAY_DIVERGED' })
        await ledger.post(ref('inbox/r1'), message('m1', { at: 4_000 }))
        expect(await status()).toEqual({ status: 'stopped', due: 4_000, error: 'REPLAY_DIVERGED' })
        await add(ledger, chain, epoch, 'run.completed', { result: null })
        await ledger.post(ref('inbox/r1'), message('m2'))
        expect(await status()).toEqual({ status: 'done', error: 'REPLAY_DIVERGED' })
        expect(await ledger.run(ref('run/none'))).toBe(undefined)
      }),
    )

    it(
      'are found by status, workflow and tag, newest first, page by page',
      withLedger(open, async (ledger) => {
        await ledger.register('w1')
        for (let i = 0; i < 6; i++)
          await startRun(
            ledger,
            `r${i}`,
            { workflow: i % 2 ? 'odd' : 'even', tags: [`t${i % 3}`] },
            { at: 1_000 + Math.floor(i / 2) },
          )
        await claimRun(ledger, { ref: ref('run/r5'), follow: () => {} } as unknown as Chain, 'w1')
        const ids = async (filter: object): Promise<string[]> =>
          (await ledger.runs({ tenant, ...filter })).map((row) => row.run)
        expect(await ids({})).toEqual(['r5', 'r4', 'r3', 'r2', 'r1', 'r0'])
        expect(await ids({ workflow: 'odd' })).toEqual(['r5', 'r3', 'r1'])
        expect(await ids({ tag: 't1' })).toEqual(['r4', 'r1'])
        expect(await ids({ status: ['queued'] })).toEqual(['r4', 'r3', 'r2', 'r1', 'r0'])
        expect(await ids({ status: ['running', 'done'] })).toEqual(['r5'])
        expect(await ids({ limit: 2 })).toEqual(['r5', 'r4'])
        expect(await ids({ limit: 2, before: 'r4' })).toEqual(['r3', 'r2'])
        expect(await ids({ before: 'r0' })).toEqual([])
      }),
    )

    it(
      'that are due and free are ready, by priority and then by time',
      withLedger(open, async (ledger) => {
        await ledger.register('w1')
        await startRun(ledger, 'late', { notBefore: 3_000 })
        await startRun(ledger, 'plain', { notBefore: 2_000 })
        await startRun(ledger, 'urgent', { notBefore: 2_500, priority: 5 })
        const owned = await startRun(ledger, 'owned')
        const theirs = await startRun(ledger, 'theirs', {}, { of: 'other' })
        const epoch = await claimRun(ledger, owned, 'w1')
        const ready = async (now: number, more: object = {}): Promise<string[]> =>
          (await ledger.ready({ now, limit: 10, ...more })).map((run) => run.ref.stream)
        expect(await ready(2_500)).toEqual(['run/urgent', 'run/theirs', 'run/plain'])
        expect(await ready(2_500, { tenant })).toEqual(['run/urgent', 'run/plain'])
        expect(await ready(9_000, { limit: 2 })).toEqual(['run/urgent', 'run/theirs'])
        expect(await ledger.ready({ now: 2_500, limit: 1 })).toEqual([
          { ref: ref('run/urgent'), due: 2_500, priority: 5 },
        ])
        expect(await ledger.nextDue(2_000)).toBe(2_500)
        expect(await ledger.nextDue(3_000)).toBe(undefined)
        await ledger.release(owned.ref, epoch)
        expect(await ready(1_000)).toEqual(['run/owned', theirs.ref.stream])
      }),
    )

    it(
      'become ready by a message, which keeps an earlier due time',
      withLedger(open, async (ledger) => {
        await ledger.register('w1')
        const chain = await startRun(ledger, 'r1')
        const epoch = await claimRun(ledger, chain, 'w1')
        await add(ledger, chain, epoch, 'run.parked', { kind: 'timer', next: 9_000 })
        await ledger.release(chain.ref, epoch)
        await ledger.post(ref('inbox/r1'), message('m1', { at: 5_000 }))
        expect((await ledger.ready({ now: 6_000, limit: 9 }))[0]?.due).toBe(5_000)
        await ledger.post(ref('inbox/r1'), message('m2', { at: 7_000 }))
        expect((await ledger.run(chain.ref))?.due).toBe(5_000)
        await ledger.post(ref('inbox/unborn'), message('m1'))
        expect(await ledger.run(ref('run/unborn'))).toBe(undefined)
      }),
    )

    it(
      'read their payload from a blob where it was spilled',
      withLedger(open, async (ledger) => {
        await ledger.register('w1')
        const chain = await startRun(ledger, 'r1')
        const epoch = await claimRun(ledger, chain, 'w1')
        const action = { text: 'x'.repeat(70_000) }
        await add(ledger, chain, epoch, 'approval.requested', { ...request, action })
        expect((await ledger.approval(tenant, 'ap1'))?.action).toEqual(action)
      }),
    )

    it(
      'refuse a record that is not whole, and nothing else of it stays',
      withLedger(open, async (ledger) => {
        await ledger.register('w1')
        const chain = await startRun(ledger, 'r1')
        const epoch = await claimRun(ledger, chain, 'w1')
        const before = chain.head
        const bad = chain.next({ type: 'run.parked', payload: null })
        expect(await codeOf(ledger.append([{ ref: chain.ref, epoch, records: [bad] }]))).toBe('INPUT_INVALID')
        expect(await ledger.head(chain.ref)).toEqual(before)
      }),
    )

    it(
      'refuse one whatever else is asked in the same turn, and do everything else of it once',
      withLedger(open, async (ledger) => {
        const chains = Array.from({ length: 6 }, (_, i) => createChain(ref(`run/r${i}`)))
        const begin = (i: number): Promise<string> => {
          const chain = chains[i] as Chain
          // The first of the two is written before the second turns out to be no whole record.
          const records = [
            chain.next({ type: 'run.started', payload: { workflow: 'w', version: '1' } }),
            chain.next(i % 3 === 1 ? { type: 'run.parked', payload: null } : { type: 'run.input' }),
          ]
          return codeOf(ledger.append([{ ref: chain.ref, epoch: 0, records }]))
        }
        const posted = (id: string): Promise<string> => codeOf(ledger.post(ref('inbox/r0'), message(id)))
        const codes = await Promise.all([
          begin(0),
          posted('m1'),
          begin(1),
          begin(2),
          begin(3),
          begin(4),
          posted('m2'),
          begin(5),
        ])
        expect(codes).toEqual(['none', 'none', 'INPUT_INVALID', 'none', 'none', 'INPUT_INVALID', 'none', 'none'])
        const heads = await ledger.heads(tenant)
        expect(heads.map(({ stream, seq }) => `${stream} ${seq}`)).toEqual([
          'inbox/r0 2',
          'run/r0 2',
          'run/r2 2',
          'run/r3 2',
          'run/r5 2',
        ])
        expect((await ledger.runs({ tenant })).map(({ run }) => run).sort()).toEqual(['r0', 'r2', 'r3', 'r5'])
        expect((await ledger.read(ref('inbox/r0'))).map(({ seq }) => seq)).toEqual([1, 2])
      }),
    )
  })

  describe('approvals', () => {
    it(
      'go from request over escalation to one decision',
      withLedger(open, async (ledger) => {
        await ledger.register('w1')
        const chain = await startRun(ledger, 'r1')
        const epoch = await claimRun(ledger, chain, 'w1')
        await add(ledger, chain, epoch, 'approval.requested', { ...request, category: 'payment', expires: 8_000 })
        expect(await ledger.approval(tenant, 'ap1')).toEqual({
          tenant,
          run: 'r1',
          path: '',
          status: 'pending',
          requestedAt: 2_000,
          ref: 'run/r1@2',
          category: 'payment',
          expires: 8_000,
          ...request,
        })
        await add(ledger, chain, epoch, 'approval.escalated', { id: 'ap1', group: 'board', expires: 9_000 })
        const decide = async (id: string, decision: string, inbox = 'inbox/r1'): Promise<void> => {
          const payload = { id: 'ap1', decision }
          await ledger.post(ref(inbox), message(id, { type: 'approval.decided', at: 6_000, payload }))
        }
        await startRun(ledger, 'r2')
        await decide('d0', 'approved', 'inbox/r2')
        expect((await ledger.approval(tenant, 'ap1'))?.status).toBe('pending')
        await decide('d1', 'rejected')
        await decide('d2', 'approved')
        const row = await ledger.approval(tenant, 'ap1')
        expect(row).toMatchObject({ status: 'rejected', group: 'board', decidedBy: person.id, decidedAt: 6_000 })
        expect(await ledger.approval(tenant, 'none')).toBe(undefined)
        expect(await ledger.approval('other', 'ap1')).toBe(undefined)
      }),
    )

    it(
      'are found by status and run, oldest first',
      withLedger(open, async (ledger) => {
        await ledger.register('w1')
        const chains = []
        for (const id of ['r1', 'r2']) {
          const chain = await startRun(ledger, id)
          chains.push({ chain, epoch: await claimRun(ledger, chain, 'w1') })
        }
        for (let i = 0; i < 4; i++) {
          const { chain, epoch } = chains[i % 2] as (typeof chains)[number]
          await add(ledger, chain, epoch, 'approval.requested', { ...request, id: `ap${i}` }, 9_000 - i)
        }
        const first = chains[0] as (typeof chains)[number]
        await add(ledger, first.chain, first.epoch, 'approval.expired', { id: 'ap0' })
        const ids = async (filter: object): Promise<string[]> =>
          (await ledger.approvals({ tenant, ...filter })).map((row) => row.id)
        expect(await ids({})).toEqual(['ap3', 'ap2', 'ap1', 'ap0'])
        expect(await ids({ status: 'pending' })).toEqual(['ap3', 'ap2', 'ap1'])
        expect(await ids({ status: 'expired' })).toEqual(['ap0'])
        expect(await ids({ run: 'r2' })).toEqual(['ap3', 'ap1'])
        expect(await ids({ limit: 1 })).toEqual(['ap3'])
      }),
    )
  })
}
