import { rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { tool } from 'convoke'
import nodemailer from 'nodemailer'
import { z } from 'zod'
import { makeFolder } from '../folders.ts'
import type { Protections } from './protections.ts'

const address = z.strictObject({ name: z.string(), email: z.email() })
const copies = z.array(z.email()).max(20).optional()
const mail = z.strictObject({ to: address, cc: copies, bcc: copies, subject: z.string(), body: z.string() })

/**
 * The outbox: drafts that a person may open, and a folder for those that were released. A file is named by the call's
 * idempotency key, so writing it twice is writing it once.
 */
export function makeMailTools(outbox: string, { labels }: Protections) {
  async function write(folder: string, name: string, content: Uint8Array): Promise<void> {
    await makeFolder(folder)
    const temporary = join(folder, `.${name}.${process.pid}`)
    await writeFile(temporary, content)
    await rename(temporary, join(folder, name))
  }

  async function compose(message: z.infer<typeof mail>, key: string, unsent: boolean): Promise<Uint8Array> {
    const transport = nodemailer.createTransport({ streamTransport: true, buffer: true, newline: 'unix' })
    const made = await transport.sendMail({
      from: { name: 'Accounts payable, Nordhafen Supply GmbH', address: 'accounts.payable@nordhafen.example' },
      to: { name: message.to.name, address: message.to.email },
      ...(message.cc === undefined ? {} : { cc: [...message.cc] }),
      ...(message.bcc === undefined ? {} : { bcc: [...message.bcc] }),
      subject: message.subject,
      text: message.body,
      messageId: `<${key}@nordhafen.example>`,
      date: new Date(0),
      ...(unsent ? { headers: { 'X-Unsent': '1' } } : {}),
    })
    return made.message as Uint8Array
  }

  return {
    draft: tool({
      name: 'mail.draft',
      description: 'Puts a draft into the outbox. Nothing is sent.',
      effect: 'idempotent',
      // It stays in the house until a person releases it.
      external: false,
      inputSchema: mail,
      outputSchema: z.strictObject({ file: z.string() }),
      execute: async (message, context) => {
        const file = `${context.run}-${context.idempotencyKey.slice(0, 8)}.eml`
        await write(outbox, file, await compose(message, context.idempotencyKey, true))
        return { file }
      },
    }),
    send: tool({
      name: 'mail.send',
      description: 'Sends a mail.',
      effect: 'idempotent',
      categories: ['external-communication'],
      // What rests on a stranger's words, or holds what only the house may know, is a person's to send.
      ...(labels ? { accepts: { integrity: 'trusted', confidentiality: [] } } : {}),
      inputSchema: mail,
      outputSchema: z.strictObject({ file: z.string() }),
      execute: async (message, context) => {
        const file = `${context.run}-${context.idempotencyKey.slice(0, 8)}.eml`
        await write(join(outbox, 'released'), file, await compose(message, context.idempotencyKey, false))
        return { file: `released/${file}` }
      },
    }),
  }
}

export type MailTools = ReturnType<typeof makeMailTools>
