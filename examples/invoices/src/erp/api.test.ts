import { readFile } from 'node:fs/promises'
import { Validator } from '@seriousme/openapi-schema-validator'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { inbox, orders, vendors } from '../../generate/catalog.ts'
import { createApp } from './app.ts'
import { openApi } from './openapi.ts'
import { checkReply, startBench } from './testkit.ts'
import type { Bench } from './testkit.ts'

let bench: Bench
beforeAll(async () => {
  bench = await startBench()
})
afterAll(async () => bench.end())

const payment = {
  invoice: 'RE-1001',
  po: 'PO-77',
  vendor: 'V-101',
  amount: '1190.00',
  currency: 'EUR',
  iban: 'DE45999000010044718200',
}

describe('the OpenAPI document', () => {
  it('is valid OpenAPI 3.1, as served', async () => {
    const served = (await (await fetch(`${bench.erp().url}/openapi.json`)).json()) as Parameters<
      Validator['validate']
    >[0]
    expect(await new Validator().validate(served)).toEqual({ valid: true })
    expect(served).toEqual(JSON.parse(JSON.stringify(openApi)))
  })

  it('is the one that the squad imports', async () => {
    const kept = await readFile(new URL('../../erp.openapi.json', import.meta.url), 'utf8')
    expect(JSON.parse(kept), 'run the generator').toEqual(JSON.parse(JSON.stringify(openApi)))
  })

  it('has unique operation ids', () => {
    const ids = Object.values(openApi.paths).flatMap((path) => Object.values(path).map((each) => each.operationId))
    expect(new Set(ids).size).toBe(ids.length)
    expect(ids.toSorted()).toEqual([
      'applyCredit',
      'createPayment',
      'findInvoices',
      'findPayments',
      'findPurchaseOrders',
      'findVendors',
      'getOrderPayments',
      'getPriceHistory',
      'getPurchaseOrder',
      'getReceipts',
      'getStoredReply',
      'getVendor',
      'listAudit',
      'registerInvoice',
      'reversePayment',
      'summarizeAudit',
    ])
  })

  it('describes exactly the routes that are served', () => {
    const idle = { add: () => {}, clear: () => {}, take: () => undefined }
    const options = { db: undefined as never, now: () => 0, faults: idle, faultHook: false, crash: () => {} }
    const served = createApp(options).routes.map(({ method, path }) => `${method} ${path.replace(/:(\w+)/g, '{$1}')}`)
    const described = Object.entries(openApi.paths).flatMap(([path, operations]) =>
      Object.keys(operations).map((method) => `${method.toUpperCase()} ${path}`),
    )
    const expected = [...described, 'GET /openapi.json'].toSorted()
    expect([...new Set(served)].toSorted()).toEqual(expected)
  })

  it('would notice a reply that it does not describe', () => {
    expect(() => checkReply('GET', '/vendors', 200, 'application/json', { items: [{ id: 'V-1' }] })).toThrow(/schema/)
    expect(() => checkReply('GET', '/vendors', 418, 'application/json', {})).toThrow(/no such reply/)
    expect(() => checkReply('GET', '/nothing', 200, 'application/json', {})).toThrow(/no operation/)
  })
})

describe('reading', () => {
  it.each([
    ['/vendors?name=breval+emballages', ['V-102']],
    ['/vendors?name=BR%C3%89VAL%20Emballages%20S.A.R.L.', ['V-102']],
    ['/vendors?vatId=DE298114073', ['V-101']],
    ['/vendors?iban=DE45%209990%200001%200044%207182%2000', ['V-101']],
    ['/vendors?name=Nobody', []],
    ['/vendors?name=%2F%2F', []],
    ['/vendors', vendors.map((vendor) => vendor.id)],
  ])('%s finds %j', async (path, ids) => {
    expect((await bench.get(path)).body.items?.map((vendor) => vendor['id'])).toEqual(ids)
  })

  it('gives every order of the catalog, with sums', async () => {
    for (const { number, vendor, lines } of orders) {
      const { body } = await bench.get(`/purchase-orders/${number}`)
      expect(body).toMatchObject({
        number,
        vendor,
        lines: lines.map(({ article, unitPrice, quantity }) => ({ article, unitPrice, quantity })),
      })
    }
    expect((await bench.get('/purchase-orders/PO-77')).body).toMatchObject({
      net: '1000.00',
      tax: '190.00',
      total: '1190.00',
    })
  })

  it('finds orders by vendor and article', async () => {
    const numbers = async (query: string): Promise<unknown[] | undefined> =>
      (await bench.get(`/purchase-orders${query}`)).body.items?.map((order) => order['number'])
    expect(await numbers('?vendor=V-106')).toEqual(['PO-85', 'PO-96'])
    expect(await numbers('?vendor=V-106&article=MS-CAB6')).toEqual(['PO-96'])
    expect(await numbers('?vendor=V-999')).toEqual([])
  })

  it('gives receipts per line and in sum, returns subtracted', async () => {
    expect((await bench.get('/purchase-orders/PO-80/receipts')).body).toEqual({
      po: 'PO-80',
      items: [{ number: 'GR-41', date: '2026-10-26', line: 1, article: 'EH-HOSE', quantity: '100' }],
      received: [{ line: 1, article: 'EH-HOSE', ordered: '120', quantity: '100' }],
    })
    expect((await bench.get('/purchase-orders/PO-70/receipts')).body['received']).toMatchObject([{ quantity: '52' }])
  })

  it('gives the price history in order', async () => {
    const { body } = await bench.get('/articles/HF-ANCH/prices')
    expect(body.items?.map((price) => [price['validFrom'], price['unitPrice']])).toEqual([
      ['2025-11-01', '1.80'],
      ['2026-05-01', '1.95'],
      ['2026-11-01', '2.15'],
    ])
  })

  it('gives what was seen and paid before', async () => {
    const { body } = await bench.get('/invoices?vendor=V-103&number=HF-0950')
    expect(body.items).toMatchObject([{ po: 'PO-70', amount: '1800.00', paid: true }])
    expect((await bench.get('/purchase-orders/PO-70/payments')).body).toMatchObject({
      paid: '1800.00',
      open: '0.00',
      credited: '0.00',
    })
  })

  it.each([
    ['/vendors/V-999', 'VENDOR_UNKNOWN'],
    ['/purchase-orders/PO-690', 'PO_UNKNOWN'],
    ['/purchase-orders/2018%2F471331', 'PO_UNKNOWN'],
    ['/purchase-orders/PO-690/receipts', 'PO_UNKNOWN'],
    ['/purchase-orders/PO-690/payments', 'PO_UNKNOWN'],
    ['/articles/NOPE/prices', 'ARTICLE_UNKNOWN'],
    ['/idempotency-keys/never', 'KEY_UNKNOWN'],
  ])('%s is a problem with code %s', async (path, code) => {
    const { status, headers, body } = await bench.get(path)
    expect([status, headers.get('content-type'), body.code]).toEqual([404, 'application/problem+json', code])
  })

  it('refuses a query that it does not know instead of ignoring it', async () => {
    const { status, body } = await bench.get('/vendors?nmae=x')
    expect([status, body.code]).toEqual([400, 'QUERY_INVALID'])
    expect(body['detail']).toContain('nmae')
  })

  it('answers an unknown route with a problem', async () => {
    const response = await fetch(`${bench.erp().url}/vendor`)
    expect(response.status).toBe(404)
    expect(await response.json()).toMatchObject({ code: 'ROUTE_UNKNOWN' })
  })
})

describe('changing', () => {
  it('registers an invoice once and shows the existing one', async () => {
    const body = {
      vendor: 'V-104',
      number: 'CM-1',
      type: '380',
      date: '2026-10-16',
      po: 'PO-83',
      amount: '20.00',
      currency: 'USD',
      document: 'sha256:1',
    }
    const first = await bench.post('/invoices', 'reg-1', body, { 'X-Convoke-Run': 'r_1' })
    expect(first).toMatchObject({ status: 201, body: { ...body, run: 'r_1', paid: false } })
    const second = await bench.post('/invoices', 'reg-2', { ...body, document: 'sha256:2' })
    expect(second).toMatchObject({ status: 409, body: { code: 'INVOICE_EXISTS', existing: { document: 'sha256:1' } } })
    expect((await bench.post('/invoices', 'reg-3', { ...body, vendor: 'V-999' })).body.code).toBe('VENDOR_UNKNOWN')
  })

  it('pays every invoice of the catalog that should be paid, and none that should not', async () => {
    for (const { file, invoice, expected, defect } of inbox) {
      if (invoice === undefined) continue
      const { number, po, vendor, grand, currency, iban } = invoice
      const body = { invoice: number, po, vendor, amount: grand, currency }
      const reply =
        invoice.type === '381'
          ? await bench.post('/credits', `pay-${file}`, body)
          : await bench.post('/payments', `pay-${file}`, { ...body, iban })
      // Quantity stands within the order's amount: only receipts tell, and those are for the clients to compare.
      const codes = { price: 'PO_EXCEEDED', tax: 'PO_EXCEEDED', 'po-unknown': 'PO_UNKNOWN', iban: 'IBAN_MISMATCH' }
      const others = { duplicate: 'ALREADY_PAID', overdraw: 'PO_EXCEEDED', 'line-unknown': 'PO_EXCEEDED' }
      const refused = { ...codes, ...others, quantity: undefined }
      const code = defect === undefined ? undefined : refused[defect]
      expect(reply.body.code, `${file} ${expected}`).toBe(code)
      if (code === undefined)
        expect(reply, file).toMatchObject({ status: 201, body: { amount: grand, status: 'applied' } })
    }
    const { body } = await bench.get('/purchase-orders/PO-85/payments')
    expect(body).toMatchObject({ total: '2856.00', paid: '1713.60', open: '1142.40' })
    expect((await bench.get('/purchase-orders/PO-70/payments')).body).toMatchObject({
      credited: '240.00',
      open: '0.00',
    })
  })

  it('gives the figures of an order that would be exceeded', async () => {
    const { body } = await bench.post('/payments', 'over', { ...payment, invoice: 'RE-2', amount: '0.01' })
    expect(body).toMatchObject({
      code: 'PO_EXCEEDED',
      open: '0.00',
      requested: '0.01',
      total: '1190.00',
      paid: '1190.00',
    })
  })

  it.each([
    [{ po: 'PO-78' }, 409, 'VENDOR_MISMATCH'],
    [{ currency: 'USD' }, 409, 'CURRENCY_MISMATCH'],
    [{ vendor: 'V-999' }, 404, 'VENDOR_UNKNOWN'],
    [{ amount: '0.00' }, 400, 'BODY_INVALID'],
    [{ amount: '-5.00' }, 400, 'BODY_INVALID'],
    [{ amount: '1.005' }, 400, 'BODY_INVALID'],
    [{ amount: 12 }, 400, 'BODY_INVALID'],
    [{ amount: '1e3' }, 400, 'BODY_INVALID'],
    [{ currency: 'JPY', amount: '1.50' }, 400, 'BODY_INVALID'],
    [{ currency: 'eur' }, 400, 'BODY_INVALID'],
    [{ surprise: 1 }, 400, 'BODY_INVALID'],
  ])('refuses a payment with %j', async (change, status, code) => {
    const body = { ...payment, invoice: 'RE-3', ...change }
    const reply = await bench.post('/payments', `bad-${JSON.stringify(change)}`.replace(/["\\]/g, ''), body)
    expect([reply.status, reply.body.code]).toEqual([status, code])
  })

  it('refuses what is no JSON or too large', async () => {
    expect((await bench.post('/payments', 'no-json', '{"invoice":')).body.code).toBe('BODY_INVALID')
    const large = await bench.post('/payments', 'large', JSON.stringify({ invoice: 'x'.repeat(1_100_000) }))
    expect([large.status, large.body.code]).toEqual([413, 'BODY_TOO_LARGE'])
  })

  it('takes a payment back, once, and lets it be made anew', async () => {
    const target = {
      ...payment,
      invoice: 'FA-1',
      po: 'PO-84',
      vendor: 'V-102',
      amount: '630.00',
      iban: 'FR2899901000420012345678945',
    }
    const { body: made } = await bench.post('/payments', 'rev-pay', target)
    const path = `/payments/${String(made['id'])}/reversal`
    expect(await bench.post(path, 'rev-1', {})).toMatchObject({
      status: 201,
      body: { payment: made['id'], amount: '630.00' },
    })
    expect((await bench.post(path, 'rev-2', { reason: 'twice' })).body.code).toBe('ALREADY_REVERSED')
    expect((await bench.get('/purchase-orders/PO-84/payments')).body).toMatchObject({ open: '630.00', paid: '0.00' })
    expect((await bench.post('/payments', 'rev-again', target)).status).toBe(201)
    expect((await bench.get('/payments?vendor=V-102&invoice=FA-1')).body.items).toMatchObject([
      { status: 'reversed' },
      { status: 'applied' },
    ])
    expect((await bench.post('/payments/PAY-9999/reversal', 'rev-3', {})).body.code).toBe('PAYMENT_UNKNOWN')
  })

  it('credits no more than was paid, and keeps a payment that a credit stands on', async () => {
    const credit = { invoice: 'CN-9', po: 'PO-70', vendor: 'V-103', amount: '1800.00', currency: 'GBP' }
    expect((await bench.post('/credits', 'cr-1', credit)).body).toMatchObject({
      code: 'CREDIT_EXCEEDED',
      credited: '240.00',
    })
    const seeded = (await bench.get('/payments?key=seed:HF-0950')).body.items?.[0]
    expect((await bench.post(`/payments/${String(seeded?.['id'])}/reversal`, 'cr-2', {})).body.code).toBe(
      'CREDIT_EXCEEDED',
    )
  })

  it('counts no repeated effect', async () => {
    expect((await bench.get('/audit/summary')).body).toMatchObject({ repeatedEffects: 0 })
  })
})
