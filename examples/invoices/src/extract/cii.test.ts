import { describe, expect, it } from 'vitest'
import { readCii } from './cii.ts'
import { invoiceDocument, type InvoiceDocument } from './document.ts'
import { parseXml } from './xml-tree.ts'

interface Parts {
  readonly profile: string
  readonly head?: string
  readonly lines?: string
  readonly agreement?: string
  readonly settlement?: string
  readonly prefixes?: readonly [string, string, string]
}

const HEAD =
  '<r:ID>R-1</r:ID><r:TypeCode>380</r:TypeCode><r:IssueDateTime><u:DateTimeString format="102">20250314</u:DateTimeString></r:IssueDateTime>'
const PARTIES =
  '<r:SellerTradeParty><r:Name>Seller\n  Ltd</r:Name></r:SellerTradeParty><r:BuyerTradeParty><r:Name>Buyer &amp; Co</r:Name></r:BuyerTradeParty>'
const SUMS =
  '<r:TaxBasisTotalAmount>100.00</r:TaxBasisTotalAmount><r:TaxTotalAmount currencyID="EUR">19.00</r:TaxTotalAmount><r:GrandTotalAmount>119.00</r:GrandTotalAmount><r:DuePayableAmount>119.00</r:DuePayableAmount>'
const settled = (sums: string, before = '', currency = 'EUR'): string =>
  `<r:InvoiceCurrencyCode>${currency}</r:InvoiceCurrencyCode>${before}<r:SpecifiedTradeSettlementHeaderMonetarySummation>${sums}</r:SpecifiedTradeSettlementHeaderMonetarySummation>`

/** A Factur-X or ZUGFeRD 2 document; the prefixes are whatever the file likes. */
function v2(parts: Parts): string {
  const xml = `<s:CrossIndustryInvoice xmlns:s="urn:un:unece:uncefact:data:standard:CrossIndustryInvoice:100" xmlns:r="urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:100" xmlns:u="urn:un:unece:uncefact:data:standard:UnqualifiedDataType:100">
  <s:ExchangedDocumentContext><r:GuidelineSpecifiedDocumentContextParameter><r:ID>${parts.profile}</r:ID></r:GuidelineSpecifiedDocumentContextParameter></s:ExchangedDocumentContext>
  <s:ExchangedDocument>${parts.head ?? HEAD}</s:ExchangedDocument>
  <s:SupplyChainTradeTransaction>${parts.lines ?? ''}<r:ApplicableHeaderTradeAgreement>${PARTIES}${parts.agreement ?? ''}</r:ApplicableHeaderTradeAgreement><r:ApplicableHeaderTradeDelivery/><r:ApplicableHeaderTradeSettlement>${parts.settlement ?? settled(SUMS)}</r:ApplicableHeaderTradeSettlement></s:SupplyChainTradeTransaction>
</s:CrossIndustryInvoice>`
  const [s, r, u] = parts.prefixes ?? ['s', 'r', 'u']
  return xml.replace(
    /(<\/?|xmlns:)([sru])(?=[:=])/g,
    (_all, before: string, p: 's' | 'r' | 'u') => before + { s, r, u }[p],
  )
}

function line(id: string, extra: { name?: string; quantity?: string; net?: string; agreement?: string } = {}): string {
  return `<r:IncludedSupplyChainTradeLineItem><r:AssociatedDocumentLineDocument><r:LineID>${id}</r:LineID></r:AssociatedDocumentLineDocument>
    <r:SpecifiedTradeProduct><r:GlobalID schemeID="0160">4000001234561</r:GlobalID><r:SellerAssignedID>A-${id}</r:SellerAssignedID><r:Name>${extra.name ?? 'Thing'}</r:Name></r:SpecifiedTradeProduct>
    <r:SpecifiedLineTradeAgreement>${extra.agreement ?? ''}<r:NetPriceProductTradePrice><r:ChargeAmount>5.0000</r:ChargeAmount><r:BasisQuantity unitCode="C62">10</r:BasisQuantity></r:NetPriceProductTradePrice></r:SpecifiedLineTradeAgreement>
    <r:SpecifiedLineTradeDelivery><r:BilledQuantity unitCode="C62">${extra.quantity ?? '200'}</r:BilledQuantity></r:SpecifiedLineTradeDelivery>
    <r:SpecifiedLineTradeSettlement><r:SpecifiedTradeSettlementLineMonetarySummation><r:LineTotalAmount>${extra.net ?? '100.00'}</r:LineTotalAmount></r:SpecifiedTradeSettlementLineMonetarySummation></r:SpecifiedLineTradeSettlement></r:IncludedSupplyChainTradeLineItem>`
}

function read(xml: string): Extract<ReturnType<typeof readCii>, { kind: 'invoice' }> {
  const reading = readCii(parseXml(new TextEncoder().encode(xml)))
  if (reading.kind !== 'invoice') throw new Error(reading.reason)
  invoiceDocument.parse(reading.document)
  return reading
}
const documentOf = (xml: string): InvoiceDocument => read(xml).document

const PROFILES = {
  MINIMUM: 'urn:factur-x.eu:1p0:minimum',
  'BASIC WL': 'urn:factur-x.eu:1p0:basicwl',
  BASIC: 'urn:cen.eu:en16931:2017#compliant#urn:factur-x.eu:1p0:basic',
  'EN 16931': 'urn:cen.eu:en16931:2017',
  EXTENDED: 'urn:cen.eu:en16931:2017#conformant#urn:factur-x.eu:1p0:extended',
  XRechnung: 'urn:cen.eu:en16931:2017#compliant#urn:xoev-de:kosit:standard:xrechnung_2.1',
}

describe('Factur-X and ZUGFeRD 2', () => {
  it.each(Object.entries(PROFILES))('reads the header of profile %s', (_name, profile) => {
    const reading = read(v2({ profile }))
    expect(reading.profile).toBe(profile)
    expect(reading.problems).toEqual([])
    expect(reading.document).toEqual({
      number: 'R-1', type: '380', date: '2025-03-14', seller: 'Seller Ltd', buyer: 'Buyer & Co', currency: 'EUR',
      net: '100.00', tax: '19.00', grand: '119.00', due: '119.00', lines: [],
    }) // prettier-ignore
  })

  it('goes by namespaces, not by prefixes', () => {
    const prefixes = ['rsm', 'a', 'udt'] as const
    expect(documentOf(v2({ profile: PROFILES.BASIC, prefixes }))).toEqual(documentOf(v2({ profile: PROFILES.BASIC })))
  })

  it('reads lines with the basis of their price and the order that they name', () => {
    const order =
      '<r:BuyerOrderReferencedDocument><r:IssuerAssignedID>PO-7</r:IssuerAssignedID></r:BuyerOrderReferencedDocument>'
    const document = documentOf(v2({ profile: PROFILES.EXTENDED, lines: line('10', { agreement: order }) }))
    expect(document.lines).toEqual([
      {
        id: '10',
        description: 'Thing',
        article: 'A-10',
        quantity: '200',
        unit: 'C62',
        price: '5.0000',
        priceBasis: '10',
        net: '100.00',
        po: 'PO-7',
      },
    ])
    expect(document.po).toBe('PO-7')
  })

  it('takes no order from lines that name different ones, and the header before lines', () => {
    const order = (id: string): string =>
      `<r:BuyerOrderReferencedDocument><r:IssuerAssignedID>${id}</r:IssuerAssignedID></r:BuyerOrderReferencedDocument>`
    const lines = line('1', { agreement: order('A1') }) + line('2', { agreement: order('A2') })
    expect(documentOf(v2({ profile: PROFILES.EXTENDED, lines })).po).toBeUndefined()
    expect(documentOf(v2({ profile: PROFILES.EXTENDED, lines, agreement: order('PO-9') })).po).toBe('PO-9')
  })

  it('reads a credit note with its preceding invoice, account, VAT number and tax shares', () => {
    const head = HEAD.replace('380', '381')
    const before = `<r:SpecifiedTradeSettlementPaymentMeans><r:PayeePartyCreditorFinancialAccount><r:IBANID>DE02 1203 0000 0000 2020 51</r:IBANID></r:PayeePartyCreditorFinancialAccount></r:SpecifiedTradeSettlementPaymentMeans>
      <r:ApplicableTradeTax><r:CalculatedAmount>19.00</r:CalculatedAmount><r:TypeCode>VAT</r:TypeCode><r:BasisAmount>100.00</r:BasisAmount><r:CategoryCode>S</r:CategoryCode><r:RateApplicablePercent>19</r:RateApplicablePercent></r:ApplicableTradeTax>`
    const after =
      '<r:InvoiceReferencedDocument><r:IssuerAssignedID>R-0</r:IssuerAssignedID></r:InvoiceReferencedDocument>'
    const xml = v2({ profile: PROFILES['EN 16931'], head, settlement: settled(SUMS, before) + after }).replace(
      '</r:Name></r:SellerTradeParty>',
      '</r:Name><r:SpecifiedTaxRegistration><r:ID schemeID="FC">123/4</r:ID></r:SpecifiedTaxRegistration><r:SpecifiedTaxRegistration><r:ID schemeID="VA">DE123456789</r:ID></r:SpecifiedTaxRegistration></r:SellerTradeParty>',
    )
    expect(documentOf(xml)).toMatchObject({
      type: '381',
      sellerVatId: 'DE123456789',
      iban: 'DE02 1203 0000 0000 2020 51',
      taxes: [{ category: 'S', rate: '19', basis: '100.00', amount: '19.00' }],
      preceding: [{ number: 'R-0' }],
    })
  })

  it('takes the tax in the currency of the invoice where it is stated in two', () => {
    const sums = SUMS.replace(
      '<r:TaxTotalAmount',
      '<r:TaxTotalAmount currencyID="EUR">22.80</r:TaxTotalAmount><r:TaxTotalAmount',
    ).replace('"EUR">19.00', '"GBP">19.00')
    expect(documentOf(v2({ profile: PROFILES.EXTENDED, settlement: settled(sums, '', 'GBP') })).tax).toBe('19.00')
    expect(documentOf(v2({ profile: PROFILES.EXTENDED, settlement: settled(sums, '', 'USD') })).tax).toBeUndefined()
  })

  it('has no account where two are stated', () => {
    const account = (iban: string): string =>
      `<r:SpecifiedTradeSettlementPaymentMeans><r:PayeePartyCreditorFinancialAccount><r:IBANID>${iban}</r:IBANID></r:PayeePartyCreditorFinancialAccount></r:SpecifiedTradeSettlementPaymentMeans>`
    const settlement = settled(SUMS, account('DE1') + account('DE2'))
    expect(documentOf(v2({ profile: PROFILES['EN 16931'], settlement })).iban).toBeUndefined()
  })

  it('has a quotable segment for each field', () => {
    const { segments } = read(v2({ profile: PROFILES.BASIC, lines: line('1') + line('2') }))
    const texts = segments.map((segment) => segment.text)
    expect(new Set(segments.map((segment) => segment.id)).size).toBe(segments.length)
    expect(texts).toContain('ExchangedDocument/ID = R-1')
    expect(texts).toContain(
      'SupplyChainTradeTransaction/IncludedSupplyChainTradeLineItem[2]/SpecifiedLineTradeDelivery/BilledQuantity = 200 C62',
    )
  })
})

describe('ZUGFeRD 1.0', () => {
  const v1 = `<rsm:CrossIndustryDocument xmlns:rsm="urn:ferd:CrossIndustryDocument:invoice:1p0" xmlns:r="urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:12" xmlns:u="urn:un:unece:uncefact:data:standard:UnqualifiedDataType:15">
  <rsm:SpecifiedExchangedDocumentContext><r:GuidelineSpecifiedDocumentContextParameter><r:ID>urn:ferd:CrossIndustryDocument:invoice:1p0:comfort</r:ID></r:GuidelineSpecifiedDocumentContextParameter></rsm:SpecifiedExchangedDocumentContext>
  <rsm:HeaderExchangedDocument>${HEAD}</rsm:HeaderExchangedDocument>
  <rsm:SpecifiedSupplyChainTradeTransaction><r:ApplicableSupplyChainTradeAgreement>${PARTIES}<r:BuyerOrderReferencedDocument><r:ID>PO-7</r:ID></r:BuyerOrderReferencedDocument></r:ApplicableSupplyChainTradeAgreement>
  <r:ApplicableSupplyChainTradeSettlement><r:InvoiceCurrencyCode/><r:SpecifiedTradeSettlementMonetarySummation>${SUMS}</r:SpecifiedTradeSettlementMonetarySummation></r:ApplicableSupplyChainTradeSettlement>
  <r:IncludedSupplyChainTradeLineItem><r:SpecifiedSupplyChainTradeDelivery><r:BilledQuantity unitCode="C62">1</r:BilledQuantity></r:SpecifiedSupplyChainTradeDelivery><r:SpecifiedTradeProduct><r:Name>Saddle</r:Name></r:SpecifiedTradeProduct></r:IncludedSupplyChainTradeLineItem>
  </rsm:SpecifiedSupplyChainTradeTransaction></rsm:CrossIndustryDocument>`

  it('reads its own names; an empty currency is absent and a line without number counts', () => {
    const document = documentOf(v1)
    expect(document).toMatchObject({ number: 'R-1', date: '2025-03-14', grand: '119.00', po: 'PO-7' })
    expect(document).not.toHaveProperty('currency')
    expect(document.lines).toEqual([{ id: '1', description: 'Saddle', quantity: '1', unit: 'C62' }])
  })

  it('is no invoice when its guideline names an order', () => {
    const order = v1.replace('invoice:1p0:comfort', 'order:1p0:extended')
    expect(readCii(parseXml(new TextEncoder().encode(order)))).toMatchObject({ kind: 'other' })
  })
})

describe('what is not as it should be', () => {
  it('leaves fields out that are not of their format, and says so', () => {
    const head = HEAD.replace('"102"', '"1020"')
    const sums = SUMS.replace('119.00</r:Grand', '1.19e2</r:Grand')
    const reading = read(v2({ profile: PROFILES.BASIC, head, settlement: settled(sums, '', 'Euro') }))
    for (const field of ['date', 'grand', 'currency']) expect(reading.document).not.toHaveProperty(field)
    expect(reading.problems.map((problem) => problem.code)).toEqual(Array(3).fill('XML_FIELD_INVALID'))
  })

  it.each(['20250230', '2025-03-14', '202503'])('takes %s for no date', (stated) => {
    expect(documentOf(v2({ profile: PROFILES.BASIC, head: HEAD.replace('20250314', stated) }))).not.toHaveProperty(
      'date',
    )
  })

  it('reads decimals as XML Schema writes them, digits unchanged', () => {
    const sums = SUMS.replace('100.00', '+100').replace('>19.00', '>.50').replace('119.00</r:Due', '-0.00</r:Due')
    expect(documentOf(v2({ profile: PROFILES.BASIC, settlement: settled(sums) }))).toMatchObject({
      net: '100',
      tax: '0.50',
      due: '-0.00',
    })
  })

  it('states contradicting sums as they are and names them', () => {
    const sums = `<r:LineTotalAmount>100.00</r:LineTotalAmount>${SUMS.replace('119.00</r:Grand', '120.00</r:Grand')}`
    const reading = read(v2({ profile: PROFILES.BASIC, lines: line('1', { net: '99.00' }), settlement: settled(sums) }))
    expect(reading.document.grand).toBe('120.00')
    expect(reading.problems.map((problem) => [problem.code, problem.at])).toEqual([
      ['CONTRADICTION', 'lineTotal'],
      ['CONTRADICTION', 'grand'],
    ])
  })

  it('passes over elements of other namespaces and says so', () => {
    const xml = v2({ profile: PROFILES.BASIC }).replace(
      '<s:ExchangedDocument>',
      '<x:ExchangedDocument xmlns:x="urn:other"><x:ID>EVIL</x:ID></x:ExchangedDocument><s:ExchangedDocument>',
    )
    const reading = read(xml)
    expect(reading.document.number).toBe('R-1')
    expect(reading.problems).toMatchObject([{ code: 'XML_FOREIGN_ELEMENT', at: 'ExchangedDocument' }])
  })

  it('is no invoice with another root', () => {
    expect(
      readCii(
        parseXml(new TextEncoder().encode('<Invoice xmlns="urn:oasis:names:specification:ubl:schema:xsd:Invoice-2"/>')),
      ),
    ).toMatchObject({ kind: 'other' })
  })
})
