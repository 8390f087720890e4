import { describe, expect, it } from 'vitest'
import type { InvoiceDocument } from './document.ts'
import { invoiceDocument } from './document.ts'
import { layOut, toSegments, type TextItem } from './layout.ts'
import { readText } from './text.ts'

/** A page as rows from the top, 14 points apart: `x|text` pieces of 10 points in a face half as wide as high. */
function page(rows: readonly string[], size = 10): TextItem[] {
  return rows.flatMap((row, index) =>
    row.split(' ~ ').flatMap((piece) => {
      if (piece === '') return []
      const [x = '', text = ''] = piece.split('|')
      return [{ text, x: Number(x), y: 800 - 14 * index, width: text.length * size * 0.5, size }]
    }),
  )
}

function read(rows: readonly string[]): { document: InvoiceDocument; problems: readonly string[] } {
  const reading = readText(layOut([page(rows)]))
  if (typeof reading === 'string') throw new Error(reading)
  invoiceDocument.parse(reading.document)
  return { document: reading.document, problems: reading.problems.map((problem) => problem.reason) }
}
const documentOf = (rows: readonly string[]): InvoiceDocument => read(rows).document

const TITLE = '50|Invoice No. INV-77'

describe('an English invoice', () => {
  const rows = [
    '50|INVOICE',
    '50|Invoice number: ~ 200|INV-2025-17',
    '50|Invoice date: ~ 200|14 March 2025',
    '50|Purchase order: ~ 200|PO-4711',
    '',
    '50|From ~ 300|Bill to',
    '50|Northwind Tools Ltd ~ 300|Contoso Bakery plc',
    '50|VAT number: GB123456789 ~ 300|VAT number: GB987654321',
    '',
    '50|Description ~ 250|Quantity ~ 330|Unit price ~ 420|Amount',
    '50|Angle grinder ~ 260|4 ~ 340|120.00 ~ 420|480.00',
    '50|Cutting disc ~ 260|100 ~ 340|5.20 ~ 420|520.00',
    '330|Subtotal ~ 420|1,000.00',
    '330|VAT (20%) ~ 420|200.00',
    '330|Total ~ 420|1,200.00',
    '330|Amount paid ~ 420|200.00',
    '330|Balance due ~ 420|1,000.00',
    '50|All amounts in EUR. IBAN: DE02 1203 0000 0000 2020 51',
  ]

  it('is read whole', () => {
    expect(documentOf(rows)).toEqual({
      number: 'INV-2025-17', type: '380', date: '2025-03-14', seller: 'Northwind Tools Ltd', sellerVatId: 'GB123456789',
      buyer: 'Contoso Bakery plc', currency: 'EUR', lineTotal: '1000.00', net: '1000.00', tax: '200.00',
      grand: '1200.00', prepaid: '200.00', due: '1000.00', po: 'PO-4711', iban: 'DE02120300000000202051',
      lines: [
        { id: '1', description: 'Angle grinder', quantity: '4', price: '120.00', net: '480.00' },
        { id: '2', description: 'Cutting disc', quantity: '100', price: '5.20', net: '520.00' },
      ],
    }) // prettier-ignore
  })

  it('has no lines when one of them does not come out, or they are not the stated sum', () => {
    expect(documentOf(rows.map((row) => row.replace('340|5.20', '340|5.30'))).lines).toEqual([])
    expect(documentOf(rows.filter((row) => !row.includes('Cutting disc'))).lines).toEqual([])
  })

  it('loses the totals that contradict each other, and nothing else', () => {
    const { document, problems } = read(
      rows.map((row) => row.replace('Subtotal', 'Net total').replace('420|1,200.00', '420|1,250.00')),
    )
    for (const field of ['net', 'tax', 'grand']) expect(document).not.toHaveProperty(field)
    expect(document.number).toBe('INV-2025-17')
    expect(problems).toEqual(['net + tax is not the grand total'])
  })

  it('loses an amount due that is not what remains', () => {
    const document = documentOf(
      rows.map((row) => row.replace('Balance due ~ 420|1,000.00', 'Balance due ~ 420|900.00')),
    )
    expect(document).not.toHaveProperty('due')
    expect(document.grand).toBe('1200.00')
  })

  it('does not take a total before tax for the grand total', () => {
    const document = documentOf([
      TITLE,
      '50|Total ~ 420|1,000.00',
      '50|VAT 20% ~ 420|200.00',
      '50|Amount due ~ 420|1,200.00',
    ])
    expect(document).not.toHaveProperty('grand')
  })

  it('does not guess a date whose order is open', () => {
    expect(documentOf([TITLE, '50|Invoice date: 03/11/2025'])).not.toHaveProperty('date')
    expect(documentOf([TITLE, '50|Invoice date: 03/11/2025', '50|Paid 25/11/2025']).date).toBe('2025-11-03')
    expect(documentOf([TITLE, '50|Invoice date: 03/11/2025', '50|Paid 11/25/2025']).date).toBe('2025-03-11')
    expect(
      documentOf([TITLE, '50|Invoice date: 03/11/2025', '50|Paid 11/25/2025', '50|Sent 25/11/2025']),
    ).not.toHaveProperty('date')
  })

  it('does not let a date in the title replace one that is labelled and open', () => {
    expect(documentOf(['50|Invoice No. INV-77 dated 2025-01-02', '50|Invoice date: 03/11/2025'])).not.toHaveProperty(
      'date',
    )
  })

  it('reads a row of headings over a row of values', () => {
    const document = documentOf([
      '50|INVOICE',
      '50|Invoice no. ~ 200|Invoice date ~ 350|PO number',
      '50|INV-9 ~ 200|2025-03-14 ~ 350|PO-8',
    ])
    expect(document).toMatchObject({ number: 'INV-9', date: '2025-03-14', po: 'PO-8' })
  })

  it('has no number where two are stated', () => {
    expect(documentOf([TITLE, '50|Invoice number: ~ 200|INV-78'])).not.toHaveProperty('number')
  })

  it('does not take the order of the seller, nor a date, for the purchase order', () => {
    expect(documentOf([TITLE, '50|Order number: SO-5', '50|Purchase order: 14.03.2025'])).not.toHaveProperty('po')
  })

  it('does not decide what a dollar is', () => {
    expect(documentOf([TITLE, '50|Grand total ~ 300|$12.00'])).toMatchObject({ grand: '12.00' })
    expect(documentOf([TITLE, '50|Grand total ~ 300|$12.00'])).not.toHaveProperty('currency')
    expect(documentOf([TITLE, '50|Currency: USD', '50|Grand total ~ 300|$12.00']).currency).toBe('USD')
  })

  it('takes no number of an open notation', () => {
    expect(documentOf([TITLE, '50|Grand total ~ 300|1.234'])).not.toHaveProperty('grand')
  })

  it('takes no account that is cut short', () => {
    expect(documentOf([TITLE, '50|IBAN: DE02 1203 0000 0000 2020'])).not.toHaveProperty('iban')
    expect(
      documentOf([TITLE, '50|IBAN: DE02120300000000202051', '50|IBAN: DE88200800000970375700']),
    ).not.toHaveProperty('iban')
  })
})

describe('a credit note', () => {
  it('is stated without the minus that its type already says', () => {
    const rows = [
      '50|Credit note CN-5',
      '50|Invoice no.: INV-4',
      '50|Net total ~ 300|-100,00',
      '50|Total VAT ~ 300|-19,00',
      '50|Total incl. VAT ~ 300|-119,00',
    ]
    const document = documentOf(rows)
    expect(document).toMatchObject({ number: 'CN-5', type: '381', net: '100.00', tax: '19.00', grand: '119.00' })
  })

  it('has no number where it only names an invoice', () => {
    expect(documentOf(['50|GUTSCHRIFT', '50|Rechnungsnummer: R-4'])).not.toHaveProperty('number')
    expect(documentOf(['50|CREDIT NOTE', '50|Invoice No. INV-4'])).toEqual({ type: '381', lines: [] })
  })

  it('keeps the minus of an invoice', () => {
    const rows = [TITLE, '50|Net total ~ 300|-100,00', '50|Total VAT ~ 300|-19,00', '50|Total incl. VAT ~ 300|-119,00']
    expect(documentOf(rows)).toMatchObject({ type: '380', net: '-100.00', grand: '-119.00' })
  })

  it('says nothing of its type where the word has two meanings', () => {
    const document = documentOf(['50|Gutschrift Nr. G-5 vom 01.02.2025'])
    expect(document).toMatchObject({ number: 'G-5', date: '2025-02-01' })
    expect(document).not.toHaveProperty('type')
  })
})

describe('a German invoice', () => {
  it('reads seller and buyer by the window of the envelope', () => {
    const document = documentOf([
      '50|Bei Spiel GmbH · Ecke 12 · 12345 Stadthausen',
      '50|Herrn',
      '50|Theodor Est',
      '50|Bahnstr. 42',
      '50|88802 Spielkreis',
      '',
      '50|Rechnung Nr. 2025/17 vom 14.03.2025',
      '50|Ihre Bestellung: B-12',
      '50|Summe netto ~ 300|1.000,00 €',
      '50|zzgl. 19 % MwSt. ~ 300|190,00 €',
      '50|Gesamtbetrag ~ 300|1.190,00 €',
      '50|USt-IdNr. DE123456789 ~ 300|Ihre USt-IdNr. DE987654321',
    ])
    expect(document).toEqual({
      number: '2025/17', type: '380', date: '2025-03-14', seller: 'Bei Spiel GmbH', sellerVatId: 'DE123456789',
      buyer: 'Theodor Est', currency: 'EUR', net: '1000.00', tax: '190.00', grand: '1190.00', po: 'B-12', lines: [],
    }) // prettier-ignore
  })

  it('does not take the share of one rate for the whole tax', () => {
    const document = documentOf([
      '50|Rechnung Nr. 5',
      '50|USt. 7 % ~ 300|7,00',
      '50|USt. 19 % ~ 300|19,00',
      '50|Summe netto ~ 300|200,00',
    ])
    expect(document).not.toHaveProperty('tax')
  })

  it('puts a label that is smaller and higher beside its value', () => {
    const small = (text: string, y: number): TextItem => ({ text, x: 365, y, width: 60, size: 7 })
    const large = (text: string, y: number): TextItem => ({ text, x: 520, y, width: 53, size: 11 })
    const items = [
      large('RECHNUNG', 764),
      small('Rechnungsnummer', 754),
      large('471102', 749.5),
      small('Rechnungsdatum', 739),
      large('05.03.2013', 735),
    ]
    expect(readText(layOut([items]))).toMatchObject({ document: { number: '471102', date: '2013-03-05' } })
  })
})

describe('a French invoice', () => {
  it('reads labels, grouped numbers and dates day first', () => {
    const document = documentOf([
      "50|Moulin SARL - 12 chemin de l'olive - 84340 Malaucène",
      '50|TVA : FR11999999998 - SARL au capital de 10 000 €',
      '50|Facture FA-2025-10',
      '50|Date de facture ~ 200|05/11/2025',
      '50|Votre référence ~ 200|PO445',
      '50|N° TVA client ~ 200|FR19787878784',
      '300|Total HT ~ 400|1 624,90 € ',
      '300|Total TVA ~ 400|324,98 €',
      '300|Total TTC ~ 400|1 949,88 €',
      '300|Solde à payer ~ 400|470,15 €',
    ])
    expect(document).toEqual({
      number: 'FA-2025-10', type: '380', date: '2025-11-05', seller: 'Moulin', sellerVatId: 'FR11999999998',
      currency: 'EUR', net: '1624.90', tax: '324.98', grand: '1949.88', due: '470.15', po: 'PO445', lines: [],
    }) // prettier-ignore
  })
})

describe('what is no invoice', () => {
  it.each([
    [['50|Lieferschein Nr. 5', '50|Summe netto ~ 300|200,00']],
    [['50|Dear Sir,', '50|please find our invoice attached.']],
    [['50|PURCHASE ORDER', '50|Send the invoice to us', '50|Total ~ 300|5.00']],
  ])('%j', (rows) => {
    expect(readText(layOut([page(rows)]))).toBeTypeOf('string')
  })
})

describe('the layout', () => {
  it('joins words, not columns, and never two numbers that stand apart', () => {
    const items = (gap: number, ...texts: string[]): TextItem[] => {
      let x = 0
      return texts.map((text) => {
        const item = { text, x, y: 100, width: text.length * 5, size: 10 }
        x += item.width + gap
        return item
      })
    }
    const cells = (list: TextItem[]): string[] => layOut([list]).cells.map((cell) => cell.text)
    expect(cells(items(2.5, 'Total', 'taxes'))).toEqual(['Total taxes'])
    expect(cells(items(6, 'Rechnung', 'gemäß'))).toEqual(['Rechnung gemäß'])
    expect(cells(items(6, '1', '000,00'))).toEqual(['1', '000,00'])
    expect(cells(items(2.5, '1', '000,00'))).toEqual(['1 000,00'])
    expect(cells(items(9, 'Menge', 'Preis'))).toEqual(['Menge', 'Preis'])
    expect(cells(items(0, '1', '19,00'))).toEqual(['119,00'])
  })

  it('numbers its lines by page, top to bottom', () => {
    expect(toSegments(layOut([page(['50|a', '50|b ~ 200|c']), page(['50|d'])]))).toEqual([
      { id: 'p1.l1', text: 'a' },
      { id: 'p1.l2', text: 'b c' },
      { id: 'p2.l1', text: 'd' },
    ])
  })
})
