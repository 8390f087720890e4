import { readFile, readdir } from 'node:fs/promises'
import { XMLParser } from 'fast-xml-parser'
import { extractText, getDocumentProxy } from 'unpdf'
import { beforeAll, describe, expect, it } from 'vitest'
import { buyer, earlierInvoices, inbox, orders, prices, vendors } from './catalog.ts'
import type { InboxFile, Invoice } from './catalog.ts'
import { decimal, hundredths, percentOf, plusDays, sum, times } from './decimal.ts'
import { renderInbox } from './render.ts'
import { printed, printedDate, printedIban } from './words.ts'

const folder = new URL('../inbox/', import.meta.url)
const readable = inbox.filter((file): file is InboxFile & { invoice: Invoice } => file.invoice !== undefined)
const open = async (name: string): ReturnType<typeof getDocumentProxy> =>
  getDocumentProxy(new Uint8Array(await readFile(new URL(name, folder))))

describe('the generator', () => {
  let rendered = new Map<string, Uint8Array>()
  beforeAll(async () => {
    rendered = await renderInbox()
  })

  it('gives the committed files, byte for byte, on each run', async () => {
    const again = await renderInbox()
    expect((await readdir(folder)).toSorted()).toEqual([...rendered.keys()].toSorted())
    for (const [name, bytes] of rendered) {
      expect(Buffer.compare(bytes, again.get(name) ?? new Uint8Array()), `${name} differs between two runs`).toBe(0)
      const committed = await readFile(new URL(name, folder))
      expect(Buffer.compare(bytes, committed), `${name} differs from inbox/: run the generator`).toBe(0)
    }
  })

  it('keeps every file small and no name tells a defect', () => {
    for (const [name, bytes] of rendered) {
      expect(bytes.byteLength, name).toBeLessThan(40_000)
      expect(name).toMatch(/^(inv-\d{4}|broken)\.pdf$/)
    }
  })

  it('makes two files of the duplicate', () => {
    const [one, two] = ['inv-1001.pdf', 'inv-1012.pdf'].map((name) => Buffer.from(rendered.get(name) ?? []))
    expect(one?.equals(two ?? Buffer.alloc(0))).toBe(false)
  })
})

describe('a shipped PDF', () => {
  it.each(readable)('$file says in its text layer what the catalog says', async ({ file, invoice, language }) => {
    const { text } = await extractText(await open(file), { mergePages: true })
    const seller = vendors.find((vendor) => vendor.id === invoice.vendor)
    const amounts = [invoice.net, invoice.tax, invoice.grand, invoice.due].map((each) => printed(each, language))
    const dates = [printedDate(invoice.date, language), printedDate(invoice.dueDate, language)]
    const names = [invoice.number, invoice.po, seller?.name ?? '', buyer.name, printedIban(invoice.iban)]
    for (const value of [...names, ...dates, ...amounts.map((amount) => `${amount} ${invoice.currency}`)]) {
      expect(text).toContain(value)
    }
    for (const line of invoice.lines) {
      const cells = [line.quantity, line.unitPrice, line.net].map((each) => printed(each, language))
      expect(text).toContain([line.article, line.description, ...cells].join(' '))
    }
  })

  it.each(readable)('$file has XML as the catalog says, in agreement', async ({ file, invoice, source, profile }) => {
    const document = await open(file)
    const attachments = await document.getAttachments()
    if (source === 'text') return expect(attachments ?? undefined).toBeUndefined()
    expect([...(attachments?.keys() ?? [])]).toEqual(['factur-x.xml'])
    const bytes = await document.getAttachmentContent('factur-x.xml')
    const cii = parseInvoice(new TextDecoder().decode(bytes ?? new Uint8Array()))
    const { number, type, date, po, currency, net, tax, grand, due, iban } = invoice
    expect(cii).toEqual({
      number,
      type,
      date,
      po,
      currency,
      net,
      tax,
      grand,
      due,
      iban,
      seller: vendors.find((vendor) => vendor.id === invoice.vendor)?.name,
      buyer: buyer.name,
      precedes: invoice.precedes?.number,
      lines: invoice.lines.map(({ article, description, ...line }) => ({
        article: profile === 'BASIC' ? undefined : article,
        description,
        ...line,
      })),
    })
  })

  it('is no PDF where it was cut', async () => {
    await expect(open('broken.pdf')).rejects.toThrow(/PDF/)
  })

  it('has no text where it was scanned', async () => {
    const document = await open('inv-1015.pdf')
    expect(document.numPages).toBe(1)
    expect((await extractText(document, { mergePages: true })).text.trim()).toBe('')
  })
})

describe('the catalog', () => {
  it('is read by nothing that runs but the seed of the ERP', async () => {
    const source = new URL('../src/', import.meta.url)
    const files = (await readdir(source, { recursive: true })).filter((name) => /(?<!\.test)\.ts$/.test(name))
    const readers: string[] = []
    for (const name of files) {
      if ((await readFile(new URL(name, source), 'utf8')).includes('generate/')) readers.push(name)
    }
    expect(readers).toEqual(['erp/seed.ts'])
  })

  const find = (file: string): Invoice => readable.find((each) => each.file === file)?.invoice as Invoice
  const orderOf = (invoice: Invoice): (typeof orders)[number] | undefined =>
    orders.find((order) => order.number === invoice.po)
  const gross = (order: (typeof orders)[number]): number => {
    const net = sum(order.lines.map((line) => times(line.quantity, line.unitPrice)))
    return hundredths(sum([net, percentOf(net, order.lines[0]?.taxPercent ?? '0')]))
  }

  it('has account numbers with right check digits (ISO 13616)', () => {
    for (const iban of [...vendors, ...readable.map((file) => file.invoice)].map((each) => each.iban)) {
      const digits = [...iban.slice(4), ...iban.slice(0, 4)].map((each) => parseInt(each, 36)).join('')
      expect(BigInt(digits) % 97n, iban).toBe(1n)
    }
  })

  it('has invoices to be paid that agree with order, receipts, prices and master data', () => {
    const clean = readable.filter((file) =>
      ['paid', 'approval', 'credited', 'duplicate', 'overdraw'].includes(file.expected),
    )
    expect(clean.length).toBeGreaterThanOrEqual(8)
    for (const { invoice, file } of clean) {
      const order = orderOf(invoice)
      expect(order?.vendor, file).toBe(invoice.vendor)
      expect(order?.currency, file).toBe(invoice.currency)
      expect(vendors.find((vendor) => vendor.id === invoice.vendor)?.iban, file).toBe(invoice.iban)
      expect(sum([invoice.net, invoice.tax]), file).toBe(invoice.grand)
      expect(gross(order!), file).toBeGreaterThanOrEqual(hundredths(invoice.grand))
      for (const line of invoice.lines) {
        const ordered = order?.lines.find((each) => each.article === line.article)
        expect(ordered?.unitPrice, file).toBe(line.unitPrice)
        const received = order?.receipts.filter((each) => each.line === ordered?.line) ?? []
        const came = received.reduce((total, each) => total + hundredths(each.quantity), 0)
        expect(came, file).toBeGreaterThanOrEqual(hundredths(line.quantity))
      }
    }
  })

  it('has each defect, and no other beside it', () => {
    const [quantity, price, tax, unknown, iban] = ['1004', '1005', '1006', '1008', '1009'].map((n) =>
      find(`inv-${n}.pdf`),
    )
    expect(orderOf(quantity!)?.receipts[0]).toMatchObject({ number: 'GR-41', quantity: '100' })
    expect(quantity?.lines[0]?.quantity).toBe('120')
    expect(orderOf(price!)?.lines[0]?.unitPrice).toBe('1.95')
    expect(price?.lines[0]?.unitPrice).toBe('2.15')
    expect([tax?.net, tax?.tax, tax?.grand]).toEqual(['800.00', '152.00', '962.00'])
    expect(orderOf(unknown!)).toBeUndefined()
    expect(iban?.iban).not.toBe(vendors.find((vendor) => vendor.id === iban?.vendor)?.iban)
    expect(readable.filter((file) => file.defect !== undefined).map((file) => file.defect)).toEqual([
      'quantity',
      'price',
      'tax',
      'po-unknown',
      'iban',
      'duplicate',
      'overdraw',
      'line-unknown',
      'po-unknown',
    ])
  })

  it('has two invoices that fit one order only one at a time', () => {
    const [one, two] = [find('inv-1013.pdf'), find('inv-1014.pdf')]
    const room = gross(orderOf(one)!)
    expect(one.po).toBe(two.po)
    expect(hundredths(one.grand)).toBeLessThanOrEqual(room)
    expect(hundredths(one.grand) + hundredths(two.grand)).toBeGreaterThan(room)
  })

  it('has one payment above the limit of 5,000.00, and a paid invoice before the credit note', () => {
    expect(readable.filter((file) => hundredths(file.invoice.grand) > 500_000).map((file) => file.file)).toEqual([
      'inv-1011.pdf',
    ])
    expect(find('inv-1010.pdf').precedes?.number).toBe(earlierInvoices[0]?.number)
  })

  it('has a price history for every article that was ordered', () => {
    for (const { article } of orders.flatMap((order) => order.lines)) {
      expect(
        prices.some((price) => price.article === article),
        article,
      ).toBe(true)
    }
  })
})

describe('print', () => {
  it('has the number and date formats of each language', () => {
    expect([printed('1190.00', 'de'), printed('1020.00', 'en'), printed('1234567.8', 'fr')]).toEqual([
      '1.190,00',
      '1,020.00',
      '1 234 567,8',
    ])
    const dates = (['de', 'en', 'fr'] as const).map((language) => printedDate('2026-11-05', language))
    expect(dates).toEqual(['05.11.2026', '5 November 2026', '05/11/2026'])
    expect(printedIban('FR2899901000420012345678945')).toBe('FR28 9990 1000 4200 1234 5678 945')
  })
})

describe('decimal', () => {
  it('is exact and rounds half away from zero', () => {
    expect([hundredths('12.5'), hundredths('-0.05'), decimal(-5), decimal(119000)]).toEqual([
      1250,
      -5,
      '-0.05',
      '1190.00',
    ])
    expect([times('3', '0.35'), times('0.5', '0.01'), times('-0.5', '0.01')]).toEqual(['1.05', '0.01', '-0.01'])
    expect([percentOf('1260.00', '19'), percentOf('10.00', '5.5'), sum(['0.10', '0.20'])]).toEqual([
      '239.40',
      '0.55',
      '0.30',
    ])
    expect(plusDays('2026-10-21', 30)).toBe('2026-11-20')
    expect(() => hundredths('1e3')).toThrow(RangeError)
  })
})

/** A second reader of the XML, written against the standard's paths only, so that the template is not its own judge. */
function parseInvoice(xml: string): unknown {
  const isArray = (name: string): boolean => name === 'IncludedSupplyChainTradeLineItem'
  const options = { removeNSPrefix: true, ignoreAttributes: false, parseTagValue: false, isArray }
  const root = new XMLParser(options).parse(xml).CrossIndustryInvoice
  const { ExchangedDocument: head, SupplyChainTradeTransaction: body } = root
  const { ApplicableHeaderTradeAgreement: agreement, ApplicableHeaderTradeSettlement: settlement } = body
  const totals = settlement.SpecifiedTradeSettlementHeaderMonetarySummation
  const day: string = head.IssueDateTime.DateTimeString['#text']
  return {
    number: head.ID,
    type: head.TypeCode,
    date: `${day.slice(0, 4)}-${day.slice(4, 6)}-${day.slice(6)}`,
    po: agreement.BuyerOrderReferencedDocument.IssuerAssignedID,
    seller: agreement.SellerTradeParty.Name,
    buyer: agreement.BuyerTradeParty.Name,
    currency: settlement.InvoiceCurrencyCode,
    net: totals.TaxBasisTotalAmount,
    tax: totals.TaxTotalAmount['#text'],
    grand: totals.GrandTotalAmount,
    due: totals.DuePayableAmount,
    iban: settlement.SpecifiedTradeSettlementPaymentMeans.PayeePartyCreditorFinancialAccount.IBANID,
    precedes: settlement.InvoiceReferencedDocument?.IssuerAssignedID,
    lines: body.IncludedSupplyChainTradeLineItem.map((line: Record<string, Record<string, never>>) => ({
      article: line['SpecifiedTradeProduct']?.['SellerAssignedID'],
      description: line['SpecifiedTradeProduct']?.['Name'],
      quantity: line['SpecifiedLineTradeDelivery']?.['BilledQuantity']?.['#text'],
      unitPrice: line['SpecifiedLineTradeAgreement']?.['NetPriceProductTradePrice']?.['ChargeAmount'],
      net: line['SpecifiedLineTradeSettlement']?.['SpecifiedTradeSettlementLineMonetarySummation']?.['LineTotalAmount'],
    })),
  }
}
