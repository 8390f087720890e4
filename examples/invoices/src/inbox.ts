import { createHash } from 'node:crypto'
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { ConvokeError } from 'convoke'

export interface InboxItem {
  readonly file: string
  readonly run: string
  readonly hash: string
  readonly bytes: Uint8Array
}

/**
 * The PDF files of a folder, by name. A run's id comes from name and content alone, so that a second start finds the
 * runs of the first.
 */
export async function readInbox(folder: string, route: string): Promise<InboxItem[]> {
  let names: string[]
  try {
    if (!(await stat(folder)).isDirectory()) throw new Error('not a folder')
    names = (await readdir(folder)).filter((name) => name.toLowerCase().endsWith('.pdf')).sort()
  } catch (error) {
    throw new ConvokeError('INPUT_INVALID', `the inbox ${folder} cannot be read: ${(error as Error).message}`, {
      details: { folder },
      next: 'name a folder with --inbox DIR',
    })
  }
  if (names.length === 0)
    throw new ConvokeError('INPUT_INVALID', `the inbox ${folder} holds no PDF file`, {
      details: { folder },
      next: 'put invoices there, or name another folder with --inbox DIR',
    })
  const items: InboxItem[] = []
  const taken = new Set<string>()
  for (const file of names) {
    const bytes = await readFile(join(folder, file))
    const hash = createHash('sha256').update(bytes).digest('hex')
    const plain = `r_${slug(file)}${route}`
    const run = taken.has(plain) ? `${plain}-${hash.slice(0, 6)}` : plain
    taken.add(run)
    items.push({ file, run, hash, bytes })
  }
  return items
}

function slug(file: string): string {
  const name = file
    .replace(/\.pdf$/i, '')
    .replace(/^inv-/i, '')
    .replace(/[^A-Za-z0-9._-]+/g, '-')
    .slice(0, 80)
  return name === '' ? 'file' : name
}
