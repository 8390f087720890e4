/** Master data of the made-up firm: vendors, purchase orders with goods received, price history, earlier invoices. */
import type { Invoice, OrderLine, Price, PurchaseOrder, Receipt, Vendor } from './catalog.ts'
import { percentOf, plusDays, sum, times } from './decimal.ts'

export const vendors: readonly Vendor[] = [
  {
    id: 'V-101',
    name: 'Weserwind Lagertechnik GmbH',
    street: 'Am Fallturm 33',
    postcode: '28359',
    city: 'Bremen',
    country: 'DE',
    vatId: 'DE298114073',
    iban: 'DE45999000010044718200',
    bic: 'WESWDEX1XXX',
    email: 'rechnung@weserwind.example',
    accountManager: { name: 'Imke Harms', email: 'imke.harms@weserwind.example' },
    paymentDays: 30,
  },
  {
    id: 'V-102',
    name: 'Bréval Emballages SARL',
    street: '12 quai des Cordiers',
    postcode: '69009',
    city: 'Lyon',
    country: 'FR',
    vatId: 'FR61880914325',
    iban: 'FR2899901000420012345678945',
    bic: 'BREVFRX1XXX',
    email: 'factures@breval.example',
    accountManager: { name: 'Luc Mercadier', email: 'luc.mercadier@breval.example' },
    paymentDays: 45,
  },
  {
    id: 'V-103',
    name: 'Harrowgate Fasteners Ltd',
    street: '8 Canal Wharf',
    postcode: 'LS11 5PS',
    city: 'Leeds',
    country: 'GB',
    vatId: 'GB418807326',
    iban: 'GB34HGFX99014270318824',
    bic: 'HGFXGBX1XXX',
    email: 'accounts@harrowgate-fasteners.example',
    accountManager: { name: 'Priya Oakes', email: 'priya.oakes@harrowgate-fasteners.example' },
    paymentDays: 30,
  },
  {
    id: 'V-104',
    name: 'Cedar Mesa Components Inc.',
    street: '4410 E Saguaro Loop',
    postcode: '85712',
    city: 'Tucson',
    country: 'US',
    vatId: 'US86-4402917',
    // Its collection account in Europe: a US account has no IBAN.
    iban: 'DE46999000020081553107',
    bic: 'CEDMDEX1XXX',
    email: 'ar@cedarmesa.example',
    accountManager: { name: 'Dana Whitlock', email: 'dana.whitlock@cedarmesa.example' },
    paymentDays: 30,
  },
  {
    id: 'V-105',
    name: 'Elbtal Hydraulik GmbH',
    street: 'Werftstraße 5',
    postcode: '01139',
    city: 'Dresden',
    country: 'DE',
    vatId: 'DE276530918',
    iban: 'DE76999000030026640915',
    bic: 'ELBTDEX1XXX',
    email: 'buchhaltung@elbtal-hydraulik.example',
    accountManager: { name: 'Jonas Reuter', email: 'jonas.reuter@elbtal-hydraulik.example' },
    paymentDays: 14,
  },
  {
    id: 'V-106',
    name: 'Mühlbach Schaltschrankbau KG',
    street: 'Gewerbering 21',
    postcode: '86159',
    city: 'Augsburg',
    country: 'DE',
    vatId: 'DE304417765',
    iban: 'DE91999000040070092231',
    bic: 'MUEHDEX1XXX',
    email: 'faktura@muehlbach.example',
    accountManager: { name: 'Selma Aydin', email: 'selma.aydin@muehlbach.example' },
    paymentDays: 30,
  },
]

/** Article number → what it is called; order lines, prices and invoice lines all take the name from here. */
export const articles: Readonly<Record<string, string>> = {
  'WW-6204': 'Rillenkugellager 6204-2RS',
  'WW-BOX4': 'Regalbehälter Gr. 4',
  'WW-FEE': 'Bearbeitungspauschale',
  'BE-C30': 'Carton double cannelure 30 cm',
  'BE-ROLL': 'Film étirable 500 mm',
  'HF-M8': 'Hex bolt M8x40 zinc',
  'HF-M12': 'Hex bolt M12x60 zinc',
  'HF-ANCH': 'Wall anchor plate 90 mm',
  'HF-RIVT': 'Rivet nuts M6, box of 500',
  'CM-PLC7': 'Load cell 7 kN',
  'EH-HOSE': 'Hydraulikschlauch DN16, 2 m',
  'EH-VALV': 'Druckbegrenzungsventil 250 bar',
  'EH-PUMP': 'Zahnradpumpe 45 cm³',
  'MS-CAB6': 'Schaltschrank 600x800, verdrahtet',
  'MS-RAIL': 'Tragschiene 35 mm, 2 m',
}

type Ordered = readonly [article: string, quantity: string, unitPrice: string]

function order(
  number: string,
  vendor: string,
  date: string,
  [currency, taxPercent]: readonly [currency: string, taxPercent: string],
  ordered: readonly Ordered[],
  receipts: readonly Receipt[],
): PurchaseOrder {
  const lines = ordered.map(([article, quantity, unitPrice], index): OrderLine => ({
    line: index + 1,
    article,
    description: articles[article] ?? article,
    quantity,
    unitPrice,
    taxPercent,
  }))
  return { number, vendor, date, currency, lines, receipts }
}

const received = (number: string, date: string, ...quantities: readonly string[]): Receipt[] =>
  quantities.map((quantity, index) => ({ number, date, line: index + 1, quantity }))

export const orders: readonly PurchaseOrder[] = [
  order(
    'PO-70',
    'V-103',
    '2026-08-17',
    ['GBP', '20'],
    [['HF-RIVT', '60', '25.00']],
    // Eight of the sixty were damaged and went back: the credit note's reason.
    [...received('GR-22', '2026-09-02', '60'), ...received('GR-39', '2026-10-12', '-8')],
  ),
  order(
    'PO-77',
    'V-101',
    '2026-10-05',
    ['EUR', '19'],
    [
      ['WW-6204', '100', '7.50'],
      ['WW-BOX4', '10', '25.00'],
    ],
    received('GR-37', '2026-10-19', '100', '10'),
  ),
  order(
    'PO-78',
    'V-102',
    '2026-10-06',
    ['EUR', '0'],
    [
      ['BE-C30', '300', '1.80'],
      ['BE-ROLL', '20', '18.00'],
    ],
    received('GR-38', '2026-10-20', '300', '20'),
  ),
  order(
    'PO-79',
    'V-103',
    '2026-10-07',
    ['GBP', '20'],
    [
      ['HF-M8', '2000', '0.35'],
      ['HF-M12', '500', '0.64'],
    ],
    received('GR-40', '2026-10-22', '2000', '500'),
  ),
  order(
    'PO-80',
    'V-105',
    '2026-10-08',
    ['EUR', '19'],
    [['EH-HOSE', '120', '12.50']],
    received('GR-41', '2026-10-26', '100'),
  ),
  order(
    'PO-81',
    'V-103',
    '2026-10-09',
    ['GBP', '20'],
    [['HF-ANCH', '400', '1.95']],
    received('GR-42', '2026-10-27', '400'),
  ),
  order(
    'PO-82',
    'V-105',
    '2026-10-12',
    ['EUR', '19'],
    [['EH-VALV', '16', '50.00']],
    received('GR-43', '2026-10-28', '16'),
  ),
  order(
    'PO-83',
    'V-104',
    '2026-09-28',
    ['USD', '0'],
    [['CM-PLC7', '12', '185.00']],
    received('GR-44', '2026-10-29', '12'),
  ),
  order(
    'PO-84',
    'V-102',
    '2026-10-13',
    ['EUR', '0'],
    [['BE-C30', '350', '1.80']],
    received('GR-45', '2026-10-30', '350'),
  ),
  order(
    'PO-85',
    'V-106',
    '2026-10-14',
    ['EUR', '19'],
    [['MS-RAIL', '100', '24.00']],
    [...received('GR-46', '2026-10-28', '60'), ...received('GR-47', '2026-11-02', '40')],
  ),
  order(
    'PO-86',
    'V-105',
    '2026-10-15',
    ['EUR', '19'],
    [['EH-PUMP', '2', '3250.00']],
    received('GR-48', '2026-11-03', '2'),
  ),
  order(
    'PO-91',
    'V-103',
    '2026-10-20',
    ['GBP', '20'],
    [['HF-M8', '1000', '0.35']],
    received('GR-50', '2026-11-05', '1000'),
  ),
  order(
    'PO-92',
    'V-101',
    '2026-10-21',
    ['EUR', '19'],
    [['WW-6204', '200', '7.50']],
    received('GR-51', '2026-11-06', '200'),
  ),
  // What the invoice with the unknown order number was most likely meant for.
  order(
    'PO-96',
    'V-106',
    '2026-10-19',
    ['EUR', '19'],
    [['MS-CAB6', '3', '420.00']],
    received('GR-49', '2026-11-04', '3'),
  ),
]

const price = (
  article: string,
  vendor: string,
  currency: string,
  ...history: readonly (readonly [validFrom: string, unitPrice: string, source: Price['source']])[]
): Price[] =>
  history.map(([validFrom, unitPrice, source]) => ({ article, vendor, validFrom, unitPrice, currency, source }))

export const prices: readonly Price[] = [
  ...price('WW-6204', 'V-101', 'EUR', ['2025-01-01', '7.20', 'price list'], ['2026-01-01', '7.50', 'price list']),
  ...price('WW-BOX4', 'V-101', 'EUR', ['2026-01-01', '25.00', 'framework agreement']),
  ...price('BE-C30', 'V-102', 'EUR', ['2025-07-01', '1.65', 'price list'], ['2026-07-01', '1.80', 'price list']),
  ...price('BE-ROLL', 'V-102', 'EUR', ['2026-03-15', '18.00', 'quotation']),
  ...price('HF-M8', 'V-103', 'GBP', ['2026-01-01', '0.35', 'framework agreement']),
  ...price('HF-M12', 'V-103', 'GBP', ['2026-01-01', '0.64', 'framework agreement']),
  ...price('HF-RIVT', 'V-103', 'GBP', ['2026-01-01', '25.00', 'framework agreement']),
  // The new list price begins after the order was placed at the old one.
  ...price(
    'HF-ANCH',
    'V-103',
    'GBP',
    ['2025-11-01', '1.80', 'price list'],
    ['2026-05-01', '1.95', 'price list'],
    ['2026-11-01', '2.15', 'price list'],
  ),
  ...price('CM-PLC7', 'V-104', 'USD', ['2026-02-01', '179.00', 'quotation'], ['2026-09-15', '185.00', 'quotation']),
  ...price('EH-HOSE', 'V-105', 'EUR', ['2025-10-01', '11.90', 'price list'], ['2026-04-01', '12.50', 'price list']),
  ...price('EH-VALV', 'V-105', 'EUR', ['2026-04-01', '50.00', 'price list']),
  ...price('EH-PUMP', 'V-105', 'EUR', ['2026-09-30', '3250.00', 'quotation']),
  ...price('MS-CAB6', 'V-106', 'EUR', ['2026-06-01', '420.00', 'framework agreement']),
  ...price('MS-RAIL', 'V-106', 'EUR', ['2026-06-01', '24.00', 'framework agreement']),
]

/** An invoice that agrees with its vendor's master data; `changes` is how it departs from that. */
export function invoice(
  number: string,
  vendorId: string,
  date: string,
  [currency, taxPercent, taxCategory]: readonly [string, string, Invoice['taxCategory']],
  po: string,
  billed: readonly Ordered[],
  changes: Partial<Invoice> = {},
): Invoice {
  const vendor = vendors.find((each) => each.id === vendorId)
  if (vendor === undefined) throw new RangeError(`no such vendor in the catalog: ${vendorId}`)
  const lines = billed.map(([article, quantity, unitPrice]) => ({
    article,
    description: articles[article] ?? article,
    quantity,
    unitPrice,
    net: times(quantity, unitPrice),
  }))
  const net = sum(lines.map((line) => line.net))
  const tax = percentOf(net, taxPercent)
  const grand = changes.grand ?? sum([net, tax])
  const dueDate = plusDays(date, vendor.paymentDays)
  const base = { number, type: '380' as const, date, vendor: vendorId, currency, po, taxPercent, taxCategory }
  return { ...base, lines, net, tax, grand, due: grand, dueDate, iban: vendor.iban, ...changes }
}

/** Seen and paid before the inbox of the example arrives. */
export const earlierInvoices: readonly Invoice[] = [
  invoice('HF-0950', 'V-103', '2026-09-04', ['GBP', '20', 'S'], 'PO-70', [['HF-RIVT', '60', '25.00']]),
]
