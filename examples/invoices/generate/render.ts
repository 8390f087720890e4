import { AFRelationship, PDFDocument, PDFName } from 'pdf-lib'
import { inbox } from './catalog.ts'
import type { InboxFile } from './catalog.ts'
import { printInvoice } from './page.ts'
import { printScan } from './scan.ts'
import { crossIndustryInvoice } from './xml.ts'

/** What the scan shows to a person; a program without character recognition gets nothing from it. */
const scanned = [
  'Mühlbach Schaltschrankbau KG'.replace('ü', 'ue'),
  'Gewerbering 21, 86159 Augsburg',
  '',
  'Nordhafen Supply GmbH',
  'Speicherkai 14, 20457 Hamburg',
  '',
  'Rechnung MS-1015',
  'Datum: 09.11.2026',
  'Bestellung: PO-96',
  '',
  '1   MS-CAB6   1   420,00',
  '',
  'Netto         420,00 EUR',
  'USt. 19        79,80 EUR',
  'Gesamt        499,80 EUR',
]

/**
 * All files of the inbox, name → bytes. Depends on the catalog only: no clock, no randomness (pdf-lib names its
 * resources from a generator with a fixed seed), so the same catalog gives the same bytes everywhere.
 */
export async function renderInbox(): Promise<Map<string, Uint8Array>> {
  const files = new Map<string, Uint8Array>()
  for (const file of inbox) files.set(file.file, await render(file))
  return files
}

async function render(file: InboxFile): Promise<Uint8Array> {
  if (file.make === 'cut') {
    // What is left when a transfer stops early: a header and half an object, no page, no index at the end.
    const whole = await render({ ...(inbox[0] as InboxFile), file: file.file })
    return whole.slice(0, 700)
  }
  const pdf = await PDFDocument.create({ updateMetadata: false })
  const { invoice, profile } = file
  const day = new Date(`${invoice?.date ?? '2026-11-09'}T09:00:00Z`)
  pdf.setCreationDate(day)
  pdf.setModificationDate(day)
  pdf.setProducer('pdf-lib')
  if (invoice === undefined) printScan(pdf, scanned)
  else await printInvoice(pdf, file, invoice)
  if (invoice !== undefined && profile !== undefined) {
    const xml = new TextEncoder().encode(crossIndustryInvoice(invoice, profile, file.remarks?.text))
    await pdf.attach(xml, 'factur-x.xml', {
      mimeType: 'text/xml',
      description: 'Factur-X invoice',
      afRelationship: AFRelationship.Alternative,
      creationDate: day,
      modificationDate: day,
    })
    setFacturXMetadata(pdf, profile)
  }
  return pdf.save()
}

/** The XMP properties by which Factur-X 1.0 marks its PDFs. PDF/A-3 is not claimed: the base fonts are not embedded. */
function setFacturXMetadata(pdf: PDFDocument, profile: NonNullable<InboxFile['profile']>): void {
  const level = { EN16931: 'EN 16931', BASIC: 'BASIC' }[profile]
  const xmp = `<?xpacket begin="\uFEFF" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" xmlns:fx="urn:factur-x:pdfa:CrossIndustryDocument:invoice:1p0#"><fx:DocumentType>INVOICE</fx:DocumentType><fx:DocumentFileName>factur-x.xml</fx:DocumentFileName><fx:Version>1.0</fx:Version><fx:ConformanceLevel>${level}</fx:ConformanceLevel></rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>`
  const stream = pdf.context.stream(new TextEncoder().encode(xmp), { Type: 'Metadata', Subtype: 'XML' })
  pdf.catalog.set(PDFName.of('Metadata'), pdf.context.register(stream))
}
