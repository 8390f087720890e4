/** The words and number formats of the three languages that the shipped invoices are printed in. */
import type { InboxFile } from './catalog.ts'

type Language = InboxFile['language']

export interface Words {
  invoice: string
  credit: string
  copy: string
  number: string
  creditNumber: string
  date: string
  order: string
  corrects: string
  due: string
  buyer: string
  vatId: string
  columns: readonly [
    position: string,
    article: string,
    description: string,
    quantity: string,
    price: string,
    net: string,
  ]
  net: string
  tax: (percent: string) => string
  grand: string
  creditGrand: string
  payable: string
  account: string
  exemption: string
  remarks: string
}

export const words: Readonly<Record<Language, Words>> = {
  de: {
    invoice: 'Rechnung',
    credit: 'Rechnungskorrektur',
    copy: 'Zweitschrift',
    number: 'Rechnungsnummer',
    creditNumber: 'Gutschriftsnummer',
    date: 'Rechnungsdatum',
    order: 'Ihre Bestellung',
    corrects: 'zur Rechnung',
    due: 'Fällig am',
    buyer: 'Rechnungsempfänger',
    vatId: 'USt-IdNr.',
    columns: ['Pos.', 'Artikel-Nr.', 'Bezeichnung', 'Menge', 'Einzelpreis', 'Betrag'],
    net: 'Summe netto',
    tax: (percent) => `USt. ${percent} %`,
    grand: 'Rechnungsbetrag',
    creditGrand: 'Gutschriftbetrag',
    payable: 'Zahlbetrag',
    account: 'Bankverbindung',
    exemption: '',
    remarks: 'Hinweis',
  },
  en: {
    invoice: 'Invoice',
    credit: 'Credit note',
    copy: 'Copy',
    number: 'Invoice number',
    creditNumber: 'Credit note number',
    date: 'Invoice date',
    order: 'Purchase order',
    corrects: 'for invoice',
    due: 'Due date',
    buyer: 'Bill to',
    vatId: 'Tax ID',
    columns: ['#', 'Item no.', 'Description', 'Qty', 'Unit price', 'Net amount'],
    net: 'Net total',
    tax: (percent) => `VAT ${percent}%`,
    grand: 'Invoice total',
    creditGrand: 'Credit total',
    payable: 'Amount due',
    account: 'Bank account',
    exemption: 'Export, no VAT charged.',
    remarks: 'Remarks',
  },
  fr: {
    invoice: 'Facture',
    credit: 'Avoir',
    copy: 'Duplicata',
    number: 'Facture n°',
    creditNumber: 'Avoir n°',
    date: 'Date de facture',
    order: 'Votre commande',
    corrects: 'sur facture',
    due: 'Échéance',
    buyer: 'Facturé à',
    vatId: 'N° TVA',
    columns: ['Ligne', 'Référence', 'Désignation', 'Quantité', 'Prix unitaire', 'Montant HT'],
    net: 'Total HT',
    tax: (percent) => `TVA ${percent} %`,
    grand: 'Total TTC',
    creditGrand: 'Total TTC',
    payable: 'Net à payer',
    account: 'Coordonnées bancaires',
    exemption: 'Livraison intracommunautaire, exonération de TVA (art. 262 ter I du CGI).',
    remarks: 'Remarque',
  },
}

/** `'1190.00'` → `1.190,00` (de), `1,190.00` (en), `1 190,00` (fr). Not from Intl: its spaces change with ICU. */
export function printed(decimal: string, language: Language): string {
  const [whole = '', fraction] = decimal.split('.')
  const group = { de: '.', en: ',', fr: ' ' }[language]
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, group)
  return fraction === undefined ? grouped : `${grouped}${language === 'en' ? '.' : ','}${fraction}`
}

const months = [
  'January',
  'February',
  'March',
  'April',
  'May',
  'June',
  'July',
  'August',
  'September',
  'October',
].concat('November', 'December')

/** `'2026-10-21'` → `21.10.2026` (de), `21 October 2026` (en), `21/10/2026` (fr). */
export function printedDate(date: string, language: Language): string {
  const [year = '', month = '', day = ''] = date.split('-')
  if (language === 'en') return `${Number(day)} ${months[Number(month) - 1] ?? ''} ${year}`
  return [day, month, year].join(language === 'de' ? '.' : '/')
}

/** In groups of four, as on paper. */
export const printedIban = (iban: string): string => iban.replace(/(.{4})(?=.)/g, '$1 ')
