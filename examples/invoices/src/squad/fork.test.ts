import { afterEach, describe, expect, it } from 'vitest'
import { agent, decideApproval, type LedgerRecord } from 'convoke'
import { judgementRoles } from './judgement.ts'
import { everything } from './protections.ts'
import { startBench, type Bench } from './testkit.ts'

let bench: Bench | undefined
afterEach(async () => {
  await bench?.stop()
  bench = undefined
})

/** What a payment order is held against. */
const books = ['books/payments/erp.getOrderPayments', 'books/po/erp.getPurchaseOrder', 'books/vendor/erp.getVendor']

/** Look-ups side by side end in any order. */
const reusedIn = (all: readonly { path: string; reused: boolean }[]): string[] =>
  all.flatMap((e) => (e.reused ? [e.path] : [])).sort()

const ends = (records: readonly LedgerRecord[]): { path: string; reused: boolean }[] =>
  records.flatMap((r) => {
    const p = r.payload as { fp?: string; reused?: string } | null
    return r.path !== undefined && typeof p?.fp === 'string' && r.fold === undefined
      ? [{ path: r.path, reused: p.reused !== undefined }]
      : []
  })

describe('a fork of the invoice example', () => {
  it(
    'R9: runs again only what depends on the corrected field; the original stays as it is, and nothing is paid twice',
    { timeout: 120_000 },
    async () => {
      bench = await startBench()
      const original = await bench.start('inv-1001.pdf')
      expect((await original.result()).status).toBe('paid')
      const before = await bench.records('r_1001')
      const paid = await bench.payments()

      const fork = await original.fork({
        at: 'parsed',
        set: [{ step: 'intake', pointer: '/document/buyer', value: 'Nordhafen Supply SE' }],
        reuse: 'unchanged',
        id: 'r_1001-f',
      })
      expect((await fork.result()).status).toBe('paid')
      expect((await fork.result()).document?.buyer).toBe('Nordhafen Supply SE')

      const again = ends(await bench.records('r_1001-f'))
      expect(again.filter((e) => !e.reused).map((e) => e.path)).toEqual([
        'parsed',
        'validation',
        'validated',
        'payment',
        'payment-order',
      ])
      expect(reusedIn(again)).toEqual([...books, 'pay', 'register'])
      expect(await bench.records('r_1001')).toEqual(before)
      expect(await bench.payments()).toEqual(paid)
      expect((await bench.audit()).filter((entry) => entry.run === 'r_1001-f' && entry.method !== 'GET')).toEqual([])
    },
  )

  it(
    'R9: holds an effect that the original already made until a person releases it',
    { timeout: 120_000 },
    async () => {
      bench = await startBench()
      const original = await bench.start('inv-1001.pdf')
      await original.result()
      const before = await bench.records('r_1001')
      const paid = await bench.payments()

      const fork = await original.fork({
        at: 'parsed',
        set: [{ step: 'intake', pointer: '/document/date', value: '2026-11-02' }],
        reuse: 'unchanged',
        id: 'r_1001-g',
      })
      const row = await fork.settled()
      expect([row.status, row.parkedOn]).toEqual(['parked', 'person'])
      const [held] = await bench.ledger.approvals({ tenant: 'local', status: 'pending', run: 'r_1001-g' })
      expect(held).toMatchObject({ kind: 'held-effect', path: 'register' })
      expect(await bench.payments()).toEqual(paid)
      expect((await bench.audit()).filter((entry) => entry.run === 'r_1001-g' && entry.method !== 'GET')).toEqual([])

      await decideApproval(bench.ledger, {
        tenant: 'local',
        id: held?.id ?? '',
        decision: 'approved',
        by: { kind: 'person', id: 'mara' },
        at: Date.now(),
      })
      await fork.settled()
      expect(
        (await bench.audit()).filter((entry) => entry.run === 'r_1001-g' && entry.method === 'POST'),
      ).toMatchObject([{ path: '/invoices', applied: 'refused' }])
      expect(await bench.payments()).toEqual(paid)
      expect(await bench.records('r_1001')).toEqual(before)
    },
  )

  it('R9: an edited prompt executes again what used it, and nothing else', { timeout: 120_000 }, async () => {
    bench = await startBench()
    const original = await bench.start('inv-1001.pdf')
    await original.result()
    const edited = await bench.again((options) => ({
      ...options,
      agents: [
        ...(options.agents ?? []).filter((a) => a.role.name !== 'compliance'),
        agent({
          role: judgementRoles(everything).compliance,
          name: 'compliance',
          instructions: 'Judge strictly: every field must agree with the document.',
        }),
      ],
    }))
    const fork = await (await edited.run('r_1001')).fork({ at: 'parsed', reuse: 'unchanged', id: 'r_1001-h' })
    await edited.work()
    await fork.result()
    const again = ends(await bench.records('r_1001-h'))
    expect(again.filter((e) => !e.reused).map((e) => e.path)).toEqual(['validated', 'payment', 'payment-order'])
    expect(reusedIn(again)).toEqual([...books, 'pay', 'register', 'validation'])
  })
})
