import { getDocumentProxy } from 'unpdf'
import type { FailureCode } from './document.ts'
import type { TextItem } from './layout.ts'

/**
 * Bounds of one PDF. Time and memory are bounded from outside, by isolate.ts, as a single inflated stream cannot be
 * interrupted from within.
 */
export const PDF_LIMITS = { bytes: 20 * 1024 * 1024, pages: 100, items: 50_000, attachments: 20 } as const

export class PdfRefused extends Error {
  override readonly name = 'PdfRefused'
  readonly code: FailureCode
  constructor(code: FailureCode, reason: string, options?: ErrorOptions) {
    super(reason, options)
    this.code = code
  }
}

export interface Attachment {
  readonly name: string
  readonly bytes: Uint8Array
}

export interface OpenPdf {
  /** Attached XML files, the names that the invoice standards use first. */
  xmlAttachments(): Promise<Attachment[]>
  /** The text items of each page, in points from the bottom left. @throws PdfRefused TOO_LARGE */
  pages(): Promise<TextItem[][]>
  close(): Promise<void>
}

/** @throws PdfRefused PDF_UNREADABLE, PDF_ENCRYPTED or TOO_LARGE */
export async function openPdf(bytes: Uint8Array, maxBytes: number = PDF_LIMITS.bytes): Promise<OpenPdf> {
  if (bytes.byteLength > maxBytes) throw new PdfRefused('TOO_LARGE', `${bytes.byteLength} bytes, more than ${maxBytes}`)
  // Readers accept a header within the first 1,024 bytes; without one, pdf.js would search the whole file for objects.
  if (!new TextDecoder('latin1').decode(bytes.subarray(0, 1024)).includes('%PDF-')) {
    throw new PdfRefused('PDF_UNREADABLE', bytes.byteLength === 0 ? 'the file is empty' : 'it has no PDF header')
  }
  // pdf.js takes the buffer over, so it gets a copy; verbosity 0 keeps its warnings off the terminal.
  const doc = await getDocumentProxy(new Uint8Array(bytes), { verbosity: 0 }).catch((cause: unknown) => {
    const error = cause instanceof Error ? cause : new Error(String(cause))
    if (error.name === 'PasswordException') throw new PdfRefused('PDF_ENCRYPTED', 'it asks for a password', { cause })
    throw new PdfRefused('PDF_UNREADABLE', error.message, { cause })
  })
  return {
    xmlAttachments: async () => {
      const listed = (await doc.getAttachments()) as ReadonlyMap<string, { filename: string }> | null
      const named = [...(listed ?? [])]
        .filter(([, file]) => /\.xml$/i.test(file.filename))
        .slice(0, PDF_LIMITS.attachments)
      named.sort(([, a], [, b]) => rank(a.filename) - rank(b.filename))
      const out: Attachment[] = []
      for (const [id, file] of named) {
        const content = (await doc.getAttachmentContent(id)) as Uint8Array | null
        if (content !== null) out.push({ name: file.filename, bytes: content })
      }
      return out
    },
    pages: async () => {
      if (doc.numPages > PDF_LIMITS.pages) {
        throw new PdfRefused('TOO_LARGE', `${doc.numPages} pages, more than ${PDF_LIMITS.pages}`)
      }
      const out: TextItem[][] = []
      let count = 0
      for (let number = 1; number <= doc.numPages; number++) {
        const page = await doc.getPage(number)
        const items = (await page.getTextContent()).items
        count += items.length
        if (count > PDF_LIMITS.items) throw new PdfRefused('TOO_LARGE', `more than ${PDF_LIMITS.items} pieces of text`)
        out.push(items.flatMap((item) => ('str' in item ? [toItem(item)] : [])))
        page.cleanup()
      }
      return out
    },
    close: () => doc.loadingTask.destroy(),
  }
}

function toItem(item: { str: string; transform: unknown[]; width: number; height: number }): TextItem {
  const [, , c, d, x, y] = item.transform as number[]
  return { text: item.str, x: x ?? 0, y: y ?? 0, width: item.width, size: Math.hypot(c ?? 0, d ?? 0) || item.height }
}

const STANDARD_NAMES = ['factur-x.xml', 'zugferd-invoice.xml', 'xrechnung.xml']

function rank(name: string): number {
  const at = STANDARD_NAMES.indexOf(name.toLowerCase())
  return at < 0 ? STANDARD_NAMES.length : at
}
