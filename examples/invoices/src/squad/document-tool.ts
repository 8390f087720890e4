import { tool } from 'convoke'
import { z } from 'zod'
import { extractInvoice, invoiceDocument } from '../extract/index.ts'
import { inboxFile } from './types.ts'

const segment = z.strictObject({ id: z.string(), text: z.string() })

/** Reads the PDF whose bytes stand in the ledger. What a file says is foreign: its labels say so. */
export function makeDocumentTool() {
  return tool({
    name: 'document.read',
    description: 'Reads an invoice from a PDF: the embedded XML, else the text layer.',
    effect: 'read',
    inputSchema: inboxFile,
    outputSchema: z.union([
      z.strictObject({
        ok: z.literal(true),
        source: z.enum(['xml', 'text']),
        profile: z.string().optional(),
        document: invoiceDocument,
        text: z.array(segment),
        problems: z.array(z.looseObject({ code: z.string(), reason: z.string() })),
      }),
      z.strictObject({ ok: z.literal(false), code: z.string(), reason: z.string() }),
    ]),
    labels: { integrity: 'untrusted' },
    execute: async ({ hash, ignoreAttachments }, context) => {
      const bytes = await context.blob(hash)
      if (bytes === undefined)
        return { ok: false as const, code: 'FILE_MISSING', reason: 'the store does not hold this file' }
      return extractInvoice(bytes, ignoreAttachments === true ? { ignoreAttachments: true } : {})
    },
  })
}

export type DocumentTool = ReturnType<typeof makeDocumentTool>
