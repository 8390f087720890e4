import { deflateSync } from 'node:zlib'
import { PDFDocument, StandardFonts } from 'pdf-lib'
import { afterAll, describe, expect, it } from 'vitest'
import { extractInvoice, type Extracted } from './index.ts'
import { createIsolate, ISOLATE_LIMITS } from './isolate.ts'

const ascii = (text: string): Uint8Array => new TextEncoder().encode(text)

async function pdfOf(lines: readonly string[], xml?: string, name = 'factur-x.xml', pages = 1): Promise<Uint8Array> {
  const pdf = await PDFDocument.create()
  const font = await pdf.embedFont(StandardFonts.Helvetica)
  for (let number = 0; number < pages; number++) {
    const page = pdf.addPage([595, 842])
    lines.forEach((text, index) => page.drawText(text, { x: 50, y: 780 - 16 * index, size: 11, font }))
  }
  if (xml !== undefined) await pdf.attach(ascii(xml), name, { mimeType: 'text/xml' })
  return pdf.save()
}

/** A PDF whose one page draws `content`, compressed; pdf.js finds its objects without a cross-reference table. */
function rawPdf(content: Uint8Array, trailer = ''): Uint8Array {
  const stream = deflateSync(content)
  const head = `%PDF-1.4
1 0 obj <</Type/Catalog/Pages 2 0 R>> endobj
2 0 obj <</Type/Pages/Kids[3 0 R]/Count 1>> endobj
3 0 obj <</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>> endobj
5 0 obj <</Type/Font/Subtype/Type1/BaseFont/Helvetica>> endobj
4 0 obj <</Length ${stream.byteLength}/Filter/FlateDecode>> stream
`
  return new Uint8Array([
    ...ascii(head),
    ...stream,
    ...ascii(`\nendstream endobj\ntrailer <</Root 1 0 R${trailer}>>\n%%EOF`),
  ])
}

const CII = `<r:CrossIndustryInvoice xmlns:r="urn:un:unece:uncefact:data:standard:CrossIndustryInvoice:100" xmlns:a="urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:100">
<r:ExchangedDocument><a:ID>XML-1</a:ID><a:TypeCode>380</a:TypeCode></r:ExchangedDocument><r:SupplyChainTradeTransaction/></r:CrossIndustryInvoice>`
const PAGE = ['Invoice No. PAGE-1', 'Grand total: 12.00 EUR']

const codeOf = (extracted: Extracted): string => (extracted.ok ? `ok ${extracted.source}` : extracted.code)

describe('extractInvoice', () => {
  it('reads the XML, whatever the attachment is called', async () => {
    for (const name of ['factur-x.xml', 'Rechnung 5.XML']) {
      const extracted = await extractInvoice(await pdfOf(PAGE, CII, name))
      expect(extracted).toMatchObject({ ok: true, source: 'xml', document: { number: 'XML-1' }, problems: [] })
    }
  })

  it('reads the page without XML, and when told to ignore it', async () => {
    const expected = {
      ok: true,
      source: 'text',
      document: { number: 'PAGE-1', grand: '12.00', currency: 'EUR' },
      problems: [],
    }
    expect(await extractInvoice(await pdfOf(PAGE))).toMatchObject(expected)
    expect(await extractInvoice(await pdfOf(PAGE, CII), { ignoreAttachments: true })).toMatchObject(expected)
  })

  it('leaves the bytes that it was given as they are', async () => {
    const bytes = await pdfOf(PAGE)
    const before = bytes.slice()
    await extractInvoice(bytes)
    expect(bytes).toEqual(before)
  })

  it.each([
    ['broken XML', '<a><b></a>', 'XML_INVALID'],
    ['an entity bomb', '<!DOCTYPE a [<!ENTITY b "b">]><a>&b;</a>', 'XML_INVALID'],
    ['XML that is no invoice', '<order/>', 'NOT_AN_INVOICE'],
  ])('notes %s and reads the page', async (_what, xml, code) => {
    const extracted = await extractInvoice(await pdfOf(PAGE, xml))
    expect(extracted).toMatchObject({
      ok: true,
      source: 'text',
      document: { number: 'PAGE-1' },
      problems: [{ code, at: 'factur-x.xml' }],
    })
  })

  it('sets aside what cannot be read, with its reason', async () => {
    expect(codeOf(await extractInvoice(new Uint8Array()))).toBe('PDF_UNREADABLE')
    expect(codeOf(await extractInvoice(ascii('hello, I am text')))).toBe('PDF_UNREADABLE')
    expect(codeOf(await extractInvoice(ascii('%PDF-1.7 and then nothing')))).toBe('PDF_UNREADABLE')
    expect(codeOf(await extractInvoice((await pdfOf(PAGE)).slice(0, 300)))).toBe('PDF_UNREADABLE')
    expect(codeOf(await extractInvoice(await pdfOf([])))).toBe('NO_TEXT')
    expect(codeOf(await extractInvoice(await pdfOf(['Dear Sir'])))).toBe('NOT_AN_INVOICE')
    expect(codeOf(await extractInvoice(await pdfOf(['Dear Sir'], '<a>')))).toBe('XML_INVALID')
    expect(codeOf(await extractInvoice(await pdfOf(PAGE), { maxBytes: 100 }))).toBe('TOO_LARGE')
    expect(codeOf(await extractInvoice(await pdfOf(['x'], undefined, '', 101)))).toBe('TOO_LARGE')
  })

  it('knows a file that asks for a password', async () => {
    // The keys are of no password, so the empty one that readers try first does not open it.
    const key = `<${'5a'.repeat(32)}>`
    const encrypted = rawPdf(ascii('BT ET'), `/ID[<00><00>]/Encrypt<</Filter/Standard/V 1/R 2/O${key}/U${key}/P -4>>`)
    expect(codeOf(await extractInvoice(encrypted))).toBe('PDF_ENCRYPTED')
  })
})

describe('the reading thread', () => {
  const lean = createIsolate({ ...ISOLATE_LIMITS, milliseconds: 60_000, residentBytes: 400 * 1024 * 1024 })
  const hasty = createIsolate({ ...ISOLATE_LIMITS, milliseconds: 300 })
  afterAll(async () => Promise.all([lean.close(), hasty.close()]))
  // 500 MB of drawing operators in a megabyte and a quarter.
  const bomb = rawPdf(Buffer.alloc(500_000_000, 'BT /F 1 Tf (x) Tj ET\n'))

  it('is ended when a file inflates too far, and the next file is read', async () => {
    const [first, second] = await Promise.all([lean.read(bomb, {}), pdfOf(PAGE).then((good) => lean.read(good, {}))])
    expect(codeOf(first)).toBe('TOO_LARGE')
    expect(codeOf(second)).toBe('ok text')
  })

  it('is ended when a file takes too long', async () => {
    expect(codeOf(await hasty.read(bomb, {}))).toBe('TOO_SLOW')
  })

  it('answers questions in their order, each once', async () => {
    const files = await Promise.all(['A-1', 'A-2', 'A-3'].map((number) => pdfOf([`Invoice No. ${number}`])))
    const answers = await Promise.all(files.map((file) => lean.read(file, {})))
    expect(answers.map((answer) => answer.ok && answer.document.number)).toEqual(['A-1', 'A-2', 'A-3'])
  })

  it('answers what it was asked when it is closed', async () => {
    const closing = createIsolate()
    const asked = closing.read(await pdfOf(PAGE), {})
    await closing.close()
    expect(codeOf(await asked)).toBe('PDF_UNREADABLE')
  })
})
