import { buyer, vendors } from './catalog.ts'
import type { InboxFile, Invoice, InvoiceLine, Party } from './catalog.ts'
import { hundredths } from './decimal.ts'

/** Guideline ids of Factur-X 1.0 / ZUGFeRD 2: what the document says it conforms to (BT-24). */
const guidelines: Readonly<Record<NonNullable<InboxFile['profile']>, string>> = {
  EN16931: 'urn:cen.eu:en16931:2017',
  BASIC: 'urn:cen.eu:en16931:2017#compliant#urn:factur-x.eu:1p0:basic',
}

/**
 * The invoice as a UN/CEFACT Cross Industry Invoice (D16B) in the element order that Factur-X 1.0 asks for. Only what
 * the catalog knows: no optional groups.
 */
export function crossIndustryInvoice(
  invoice: Invoice,
  profile: NonNullable<InboxFile['profile']>,
  remarks?: string,
): string {
  const seller = vendors.find((vendor) => vendor.id === invoice.vendor)
  if (seller === undefined) throw new RangeError(`no such vendor in the catalog: ${invoice.vendor}`)
  return `<?xml version="1.0" encoding="UTF-8"?>
<rsm:CrossIndustryInvoice xmlns:rsm="urn:un:unece:uncefact:data:standard:CrossIndustryInvoice:100" xmlns:ram="urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:100" xmlns:udt="urn:un:unece:uncefact:data:standard:UnqualifiedDataType:100" xmlns:qdt="urn:un:unece:uncefact:data:standard:QualifiedDataType:100">
<rsm:ExchangedDocumentContext><ram:GuidelineSpecifiedDocumentContextParameter><ram:ID>${guidelines[profile]}</ram:ID></ram:GuidelineSpecifiedDocumentContextParameter></rsm:ExchangedDocumentContext>
<rsm:ExchangedDocument><ram:ID>${escape(invoice.number)}</ram:ID><ram:TypeCode>${invoice.type}</ram:TypeCode><ram:IssueDateTime>${date(invoice.date)}</ram:IssueDateTime>${note(remarks)}</rsm:ExchangedDocument>
<rsm:SupplyChainTradeTransaction>
${invoice.lines.map((line, index) => tradeLine(line, index + 1, invoice, profile)).join('\n')}
<ram:ApplicableHeaderTradeAgreement>
<ram:SellerTradeParty>${party(seller)}</ram:SellerTradeParty>
<ram:BuyerTradeParty>${party(buyer)}</ram:BuyerTradeParty>
<ram:BuyerOrderReferencedDocument><ram:IssuerAssignedID>${escape(invoice.po)}</ram:IssuerAssignedID></ram:BuyerOrderReferencedDocument>
</ram:ApplicableHeaderTradeAgreement>
<ram:ApplicableHeaderTradeDelivery/>
${settlement(invoice)}
</rsm:SupplyChainTradeTransaction>
</rsm:CrossIndustryInvoice>
`
}

const note = (text: string | undefined): string =>
  text === undefined ? '' : `<ram:IncludedNote><ram:Content>${escape(text)}</ram:Content></ram:IncludedNote>`

function tradeLine(
  line: InvoiceLine,
  number: number,
  invoice: Invoice,
  profile: NonNullable<InboxFile['profile']>,
): string {
  // BT-155, the seller's article number, begins with the EN 16931 profile.
  const article = profile === 'BASIC' ? '' : `<ram:SellerAssignedID>${escape(line.article)}</ram:SellerAssignedID>`
  return (
    `<ram:IncludedSupplyChainTradeLineItem><ram:AssociatedDocumentLineDocument><ram:LineID>${number}</ram:LineID></ram:AssociatedDocumentLineDocument>` +
    `<ram:SpecifiedTradeProduct>${article}<ram:Name>${escape(line.description)}</ram:Name></ram:SpecifiedTradeProduct>` +
    `<ram:SpecifiedLineTradeAgreement><ram:NetPriceProductTradePrice><ram:ChargeAmount>${line.unitPrice}</ram:ChargeAmount></ram:NetPriceProductTradePrice></ram:SpecifiedLineTradeAgreement>` +
    `<ram:SpecifiedLineTradeDelivery><ram:BilledQuantity unitCode="H87">${line.quantity}</ram:BilledQuantity></ram:SpecifiedLineTradeDelivery>` +
    `<ram:SpecifiedLineTradeSettlement><ram:ApplicableTradeTax><ram:TypeCode>VAT</ram:TypeCode><ram:CategoryCode>${invoice.taxCategory}</ram:CategoryCode><ram:RateApplicablePercent>${invoice.taxPercent}</ram:RateApplicablePercent></ram:ApplicableTradeTax>` +
    `<ram:SpecifiedTradeSettlementLineMonetarySummation><ram:LineTotalAmount>${line.net}</ram:LineTotalAmount></ram:SpecifiedTradeSettlementLineMonetarySummation></ram:SpecifiedLineTradeSettlement></ram:IncludedSupplyChainTradeLineItem>`
  )
}

/** Reasons that EN 16931 requires beside the tax categories without tax (BR-IC-10, BR-G-10). */
const exemptions: Readonly<Record<Invoice['taxCategory'], string>> = {
  S: '',
  K: '<ram:ExemptionReason>Intra-community supply</ram:ExemptionReason>',
  G: '<ram:ExemptionReason>Export outside the EU</ram:ExemptionReason>',
}

function settlement(invoice: Invoice): string {
  const { currency, precedes } = invoice
  const corrected =
    precedes === undefined
      ? ''
      : `\n<ram:InvoiceReferencedDocument><ram:IssuerAssignedID>${escape(precedes.number)}</ram:IssuerAssignedID><ram:FormattedIssueDateTime><qdt:DateTimeString format="102">${precedes.date.replaceAll('-', '')}</qdt:DateTimeString></ram:FormattedIssueDateTime></ram:InvoiceReferencedDocument>`
  return `<ram:ApplicableHeaderTradeSettlement>
<ram:InvoiceCurrencyCode>${currency}</ram:InvoiceCurrencyCode>
<ram:SpecifiedTradeSettlementPaymentMeans><ram:TypeCode>30</ram:TypeCode><ram:PayeePartyCreditorFinancialAccount><ram:IBANID>${invoice.iban}</ram:IBANID></ram:PayeePartyCreditorFinancialAccount></ram:SpecifiedTradeSettlementPaymentMeans>
<ram:ApplicableTradeTax><ram:CalculatedAmount>${invoice.tax}</ram:CalculatedAmount><ram:TypeCode>VAT</ram:TypeCode>${exemptions[invoice.taxCategory]}<ram:BasisAmount>${invoice.net}</ram:BasisAmount><ram:CategoryCode>${invoice.taxCategory}</ram:CategoryCode><ram:RateApplicablePercent>${invoice.taxPercent}</ram:RateApplicablePercent></ram:ApplicableTradeTax>
<ram:SpecifiedTradePaymentTerms><ram:DueDateDateTime>${date(invoice.dueDate)}</ram:DueDateDateTime></ram:SpecifiedTradePaymentTerms>
<ram:SpecifiedTradeSettlementHeaderMonetarySummation><ram:LineTotalAmount>${lineTotal(invoice)}</ram:LineTotalAmount><ram:TaxBasisTotalAmount>${invoice.net}</ram:TaxBasisTotalAmount><ram:TaxTotalAmount currencyID="${currency}">${invoice.tax}</ram:TaxTotalAmount><ram:GrandTotalAmount>${invoice.grand}</ram:GrandTotalAmount><ram:DuePayableAmount>${invoice.due}</ram:DuePayableAmount></ram:SpecifiedTradeSettlementHeaderMonetarySummation>${corrected}
</ram:ApplicableHeaderTradeSettlement>`
}

const lineTotal = (invoice: Invoice): string =>
  (invoice.lines.reduce((total, line) => total + hundredths(line.net), 0) / 100).toFixed(2)

function party(of: Party): string {
  const [scheme, id] = of.vatId.startsWith('US') ? ['FC', of.vatId.slice(2)] : ['VA', of.vatId]
  return (
    `<ram:Name>${escape(of.name)}</ram:Name><ram:PostalTradeAddress><ram:PostcodeCode>${escape(of.postcode)}</ram:PostcodeCode><ram:LineOne>${escape(of.street)}</ram:LineOne><ram:CityName>${escape(of.city)}</ram:CityName><ram:CountryID>${of.country}</ram:CountryID></ram:PostalTradeAddress>` +
    `<ram:SpecifiedTaxRegistration><ram:ID schemeID="${scheme}">${id}</ram:ID></ram:SpecifiedTaxRegistration>`
  )
}

/** UNTDID 2379 format 102: CCYYMMDD. */
const date = (day: string): string => `<udt:DateTimeString format="102">${day.replaceAll('-', '')}</udt:DateTimeString>`

const escape = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
