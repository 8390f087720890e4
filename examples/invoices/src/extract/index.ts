import type { Extracted, ExtractOptions } from './document.ts'
import { createIsolate, type Isolate } from './isolate.ts'
import { PDF_LIMITS } from './pdf.ts'

export { compactIban, invoiceDocument } from './document.ts'
export type { Extracted, ExtractOptions, InvoiceDocument, Segment } from './document.ts'
export { readInvoice } from './read.ts'

let isolate: Isolate | undefined

/**
 * Reads an invoice from the bytes of a PDF: from the embedded Factur-X, ZUGFeRD or XRechnung XML, else from its text
 * layer. Never throws for what the file is: a file that cannot be read comes back with a code.
 *
 * Bounds: 20 MiB (`maxBytes`), 100 pages, 50,000 pieces of text, 20 attachments, 8 MiB, 200,000 elements and a depth
 * of 64 for XML, and, in a thread of its own, 60 seconds, 512 MiB of heap and 1 GiB by which the process grows. Files are read
 * one after another.
 */
export async function extractInvoice(bytes: Uint8Array, opts: ExtractOptions = {}): Promise<Extracted> {
  const max = opts.maxBytes ?? PDF_LIMITS.bytes
  if (bytes.byteLength > max)
    return { ok: false, code: 'TOO_LARGE', reason: `${bytes.byteLength} bytes, more than ${max}` }
  isolate ??= createIsolate()
  return isolate.read(bytes, opts)
}
