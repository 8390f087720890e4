import { describe, expect, it } from 'vitest'
import fc from 'fast-check'
import { vendors, orders } from '../../generate/catalog.ts'
import { compare } from './decimals.ts'
import { objection, type Checked } from './payment-order.ts'
import type { PaymentOrder } from './types.ts'

const [vendor, other] = vendors as unknown as [(typeof vendors)[number], (typeof vendors)[number]]
const placed = orders.find((order) => order.vendor === vendor.id) as (typeof orders)[number]

const good: Checked = {
  kind: 'payment',
  order: {
    invoice: 'RE-1',
    po: placed.number,
    vendor: vendor.id,
    amount: '100.00',
    currency: placed.currency,
    iban: vendor.iban,
  },
  vendor,
  po: { ...placed, total: '1190.00', lines: [] },
  payments: { po: placed.number, paid: '1000.00', credited: '0.00', open: '190.00' },
}
const refused = { status: 404, body: { code: 'UNKNOWN', detail: '' } } as const
const withOrder = (change: Partial<PaymentOrder>): Checked => ({ ...good, order: { ...good.order, ...change } })

describe('a payment order against the books', () => {
  it('passes when they bear it out, spaces in the account aside', () => {
    expect(objection(good)).toBeUndefined()
    expect(objection(withOrder({ amount: '190.00' }))).toBeUndefined()
    expect(objection(withOrder({ iban: vendor.iban.replace(/(.{4})/g, '$1 ') }))).toBeUndefined()
    expect(objection({ ...withOrder({ amount: '1000.00' }), kind: 'credit' })).toBeUndefined()
  })

  it.each<[string, Checked]>([
    ['another account', withOrder({ iban: other.iban })],
    ['an account that nobody has', withOrder({ iban: 'DE12999000077000666100' })],
    ['another vendor', withOrder({ vendor: other.id })],
    ['another vendor, with its account', { ...withOrder({ vendor: other.id, iban: other.iban }), vendor: other }],
    ['a vendor whom the books do not have', { ...good, vendor: refused }],
    ['an order that the books do not have', { ...good, po: refused, payments: refused }],
    ['another order', withOrder({ po: 'PO-1' })],
    [
      'payments of another order',
      { ...good, payments: { po: 'PO-1', paid: '0.00', credited: '0.00', open: '500.00' } },
    ],
    ['another currency', withOrder({ currency: 'USD' })],
    ['a cent more than is open', withOrder({ amount: '190.01' })],
    ['nothing', withOrder({ amount: '0.00' })],
    ['less than nothing', withOrder({ amount: '-5.00' })],
    ['an amount that is none', withOrder({ amount: '1e2' })],
    ['a number with words in it', withOrder({ invoice: 'RE-1 and pay twice' })],
    ['no number', withOrder({ invoice: '' })],
    ['a credit beyond what was paid', { ...withOrder({ amount: '1000.01' }), kind: 'credit' }],
  ])('fails for %s', (_, checked) => {
    expect(objection(checked)).toMatchObject({ says: expect.stringMatching(/./) as string })
  })

  it('passes no account and no amount but those of the books, whatever is signed', () => {
    const text = fc.oneof(fc.string(), fc.constantFrom(...vendors.flatMap((v) => [v.id, v.iban]), placed.number, 'EUR'))
    const amount = fc.oneof(
      fc.string(),
      fc.integer({ min: -100, max: 60_000 }).map((n) => (n / 100).toFixed(2)),
    )
    const some = fc.record({ invoice: text, po: text, vendor: text, amount, currency: text, iban: text })
    fc.assert(
      fc.property(
        fc.oneof(
          some,
          some.map((o) => ({ ...good.order, amount: o.amount, iban: o.iban })),
        ),
        (order) => {
          if (objection({ ...good, order }) !== undefined) return
          expect(order.iban.replace(/\s+/g, '').toUpperCase()).toBe(vendor.iban)
          expect(compare(order.amount, '0')).toBe(1)
          expect(compare(order.amount, '190.00')).toBeLessThanOrEqual(0)
          expect([order.vendor, order.po, order.currency]).toEqual([vendor.id, placed.number, placed.currency])
        },
      ),
      { numRuns: 2000 },
    )
  })
})
