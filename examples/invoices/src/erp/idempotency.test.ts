import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { startBench } from './testkit.ts'
import type { Bench, Reply } from './testkit.ts'

let bench: Bench
beforeEach(async () => {
  bench = await startBench()
})
afterEach(async () => bench.end())

const payment = {
  invoice: 'RE-1001',
  po: 'PO-77',
  vendor: 'V-101',
  amount: '1190.00',
  currency: 'EUR',
  iban: 'DE45999000010044718200',
}
const rail = { po: 'PO-85', vendor: 'V-106', amount: '1713.60', currency: 'EUR', iban: 'DE91999000040070092231' }
const replayed = (reply: Reply): string | null => reply.headers.get('idempotency-replayed')
const standing = async (query = ''): Promise<number | undefined> =>
  (await bench.get(`/payments?vendor=V-101&invoice=RE-1001${query}`)).body.items?.length

describe('an idempotency key', () => {
  it('gives the same reply again, and no second effect', async () => {
    const first = await bench.post('/payments', '"k-1"', payment, { 'X-Convoke-Run': 'r_1' })
    expect([first.status, replayed(first)]).toEqual([201, null])
    // Another order of members and the bare form of the key are the same request.
    const again = await bench.post('/payments', 'k-1', Object.fromEntries(Object.entries(payment).toReversed()))
    expect([again.status, replayed(again), again.body]).toEqual([201, 'true', first.body])
    expect(await standing('&key=k-1')).toBe(1)
    expect((await bench.audit()).map((each) => [each['method'], each['path'], each['applied'], each['run']])).toEqual([
      ['POST', '/payments', 'applied', 'r_1'],
      ['POST', '/payments', 'repeated', null],
      ['GET', '/payments?vendor=V-101&invoice=RE-1001&key=k-1', 'read', null],
    ])
  })

  it('refuses another body or another path', async () => {
    await bench.post('/payments', 'k-1', payment)
    const other = await bench.post('/payments', 'k-1', { ...payment, amount: '1.00' })
    expect([other.status, other.body.code]).toEqual([422, 'IDEMPOTENCY_KEY_REUSED'])
    const elsewhere = await bench.post('/payments/PAY-0002/reversal', 'k-1', {})
    expect([elsewhere.status, elsewhere.body.code]).toEqual([422, 'IDEMPOTENCY_KEY_REUSED'])
  })

  it('is required and must be well formed', async () => {
    expect((await bench.post('/payments', undefined, payment)).body.code).toBe('IDEMPOTENCY_KEY_MISSING')
    expect((await bench.post('/payments', '"open', payment)).body.code).toBe('IDEMPOTENCY_KEY_INVALID')
    expect((await bench.post('/payments', 'two words', payment)).body.code).toBe('IDEMPOTENCY_KEY_INVALID')
    expect(await standing()).toBe(0)
  })

  it('repeats a refusal of the business, but keeps none that says nothing about the effect', async () => {
    await bench.post('/payments', 'k-1', payment)
    const refused = await bench.post('/payments', 'k-2', payment)
    expect(refused.body.code).toBe('ALREADY_PAID')
    const again = await bench.post('/payments', 'k-2', payment)
    expect([again.status, replayed(again), again.body]).toEqual([409, 'true', refused.body])
    expect((await bench.post('/payments', 'k-3', { ...payment, amount: 'much' })).status).toBe(400)
    expect((await bench.post('/payments', 'k-3', payment)).body.code).toBe('ALREADY_PAID')
  })

  it('in flight is answered 409', async () => {
    await bench.fault({ kind: 'delay', ms: 1500, method: 'POST' })
    const replies = await Promise.all([
      bench.post('/payments', 'k-1', payment),
      bench.post('/payments', 'k-1', payment),
    ])
    const [made, busy] = replies.toSorted((a, b) => a.status - b.status)
    expect([made?.status, made && replayed(made)]).toEqual([201, null])
    expect([busy?.status, busy?.body.code, busy?.headers.get('retry-after')]).toEqual([
      409,
      'IDEMPOTENCY_KEY_IN_FLIGHT',
      '1',
    ])
    expect(replayed(await bench.post('/payments', 'k-1', payment))).toBe('true')
    expect(await standing()).toBe(1)
  })

  it('tells what became of it, for a caller that never saw the reply', async () => {
    await bench.fault({ kind: 'drop', method: 'POST' })
    await expect(bench.post('/payments', 'k-1', payment)).rejects.toThrow(/fetch failed/)
    const { body } = await bench.get('/idempotency-keys/k-1')
    expect(body).toMatchObject({ key: 'k-1', status: 201, effect: 'payment:PAY-0002', body: { invoice: 'RE-1001' } })
    expect((await bench.get('/payments?key=k-1')).body.items).toMatchObject([{ id: 'PAY-0002' }])
  })

  it('outlives the process', async () => {
    const first = await bench.post('/payments', 'k-1', payment)
    process.kill(bench.erp().pid, 'SIGKILL')
    await bench.erp().exited
    await bench.restart()
    const again = await bench.post('/payments', 'k-1', payment)
    expect([again.body, replayed(again)]).toEqual([first.body, 'true'])
  })
})

describe('requests at once', () => {
  it('pay one of two invoices that together exceed their order', async () => {
    const replies = await Promise.all(
      ['MS-1013', 'MS-1014'].map((invoice) => bench.post('/payments', invoice, { ...rail, invoice })),
    )
    expect(replies.map((reply) => reply.status).toSorted((a, b) => a - b)).toEqual([201, 409])
    expect(replies.find((reply) => reply.status === 409)?.body).toMatchObject({
      code: 'PO_EXCEEDED',
      total: '2856.00',
      paid: '1713.60',
      open: '1142.40',
      requested: '1713.60',
    })
  })

  it('pay an invoice once, whichever of twenty keys comes first', async () => {
    const keys = Array.from({ length: 20 }, (_, index) => `k-${index}`)
    const replies = await Promise.all(keys.map((key) => bench.post('/payments', key, payment)))
    expect(replies.filter((reply) => reply.status === 201)).toHaveLength(1)
    expect(replies.filter((reply) => reply.body.code === 'ALREADY_PAID')).toHaveLength(19)
    expect((await bench.get('/audit/summary')).body).toMatchObject({
      calls: 20,
      applied: 1,
      refused: 19,
      repeatedEffects: 0,
    })
  })

  it('with one key have one effect', async () => {
    const replies = await Promise.all(Array.from({ length: 20 }, () => bench.post('/payments', 'same', payment)))
    const made = replies.filter((reply) => reply.status === 201)
    expect(new Set(made.map((reply) => reply.body['id'])).size).toBe(1)
    expect(
      replies.filter((reply) => reply.status === 201 || reply.body.code === 'IDEMPOTENCY_KEY_IN_FLIGHT'),
    ).toHaveLength(20)
    expect(await standing()).toBe(1)
  })
})
