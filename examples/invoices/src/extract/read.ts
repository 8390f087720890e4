import { readCii, type CiiReading } from './cii.ts'
import type { Extracted, ExtractOptions, Problem } from './document.ts'
import { layOut, toSegments } from './layout.ts'
import { openPdf, PdfRefused, type OpenPdf } from './pdf.ts'
import { readText } from './text.ts'
import { parseXml, XmlRefused } from './xml-tree.ts'

/**
 * Reads one invoice in this thread: the embedded XML, else the text layer. XML that is no invoice or not well-formed
 * is noted as a problem and the page is read; it ends as XML_INVALID only where the page yields nothing either.
 */
export async function readInvoice(bytes: Uint8Array, options: ExtractOptions = {}): Promise<Extracted> {
  let pdf: OpenPdf | undefined
  try {
    pdf = await openPdf(bytes, options.maxBytes)
    const problems: Problem[] = []
    if (options.ignoreAttachments !== true) {
      const read = await fromXml(pdf, problems)
      if (read !== undefined) {
        const { profile, document, segments } = read
        const found = { document, text: segments, problems: read.problems }
        return { ok: true, source: 'xml', ...(profile === undefined ? {} : { profile }), ...found }
      }
    }
    return fromText(await pdf.pages(), problems)
  } catch (error) {
    if (error instanceof PdfRefused) return { ok: false, code: error.code, reason: error.message }
    // What pdf.js throws on damaged objects has no type of its own.
    return { ok: false, code: 'PDF_UNREADABLE', reason: error instanceof Error ? error.message : String(error) }
  } finally {
    await pdf?.close().catch(() => undefined)
  }
}

async function fromXml(
  pdf: OpenPdf,
  problems: Problem[],
): Promise<Extract<CiiReading, { kind: 'invoice' }> | undefined> {
  for (const file of await pdf.xmlAttachments()) {
    try {
      const reading = readCii(parseXml(file.bytes))
      if (reading.kind === 'invoice') return reading
      problems.push({ code: 'NOT_AN_INVOICE', at: file.name, reason: reading.reason })
    } catch (error) {
      if (!(error instanceof XmlRefused)) throw error
      problems.push({ code: 'XML_INVALID', at: file.name, reason: error.message })
    }
  }
  return undefined
}

function fromText(pages: Awaited<ReturnType<OpenPdf['pages']>>, problems: readonly Problem[]): Extracted {
  const layout = layOut(pages)
  const reading = layout.cells.length === 0 ? 'empty' : readText(layout)
  if (typeof reading === 'string') {
    const invalid = problems.find((problem) => problem.code === 'XML_INVALID')
    if (invalid !== undefined)
      return { ok: false, code: 'XML_INVALID', reason: `${invalid.at ?? 'XML'}: ${invalid.reason}` }
    return reading === 'empty'
      ? { ok: false, code: 'NO_TEXT', reason: 'its pages have no text layer (a scan) and it carries no invoice as XML' }
      : { ok: false, code: 'NOT_AN_INVOICE', reason: reading }
  }
  const all = [...problems, ...reading.problems]
  return { ok: true, source: 'text', document: reading.document, text: toSegments(layout), problems: all }
}
