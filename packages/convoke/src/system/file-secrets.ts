import { constants } from 'node:fs'
import { open, stat } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { ConvokeError } from '../core/errors.ts'
import type { Secrets } from '../ports/secrets.ts'

// Owns: what it read from its file, until the file changes.
// Invariants: nothing is read from a file that others can read or change; nothing of its content is in an error.

const maxBytes = 1024 * 1024

/**
 * Secrets from a JSON file of names and values that belongs to this user (or root) alone: mode 0600 or 0400, no link, in
 * a folder that nobody else can write. Looked at again at each use, so that a new value counts at once.
 * `get` rejects with SECRET_STORE_UNSAFE when others could read or change it, SECRET_MISSING when it cannot be read.
 */
export function fileSecrets(path: string): Secrets {
  const file = resolve(path)
  let last: { readonly stamp: string; readonly values: ReadonlyMap<string, string> } | undefined
  return {
    async get(name) {
      const handle = await openAlone(file)
      if (handle === undefined) return undefined
      try {
        const info = await handle.stat({ bigint: true })
        assertAlone(file, Number(info.mode), Number(info.uid), info.isFile())
        const stamp = `${info.dev}:${info.ino}:${info.size}:${info.mtimeNs}`
        if (last?.stamp !== stamp) {
          if (info.size > BigInt(maxBytes)) throw unreadable(file, `it is larger than ${maxBytes} bytes`)
          last = { stamp, values: valuesOf(file, await handle.readFile('utf8')) }
        }
        return last.values.get(name)
      } finally {
        await handle.close()
      }
    },
    hint: (name) => `add ${JSON.stringify(name)} to ${file}`,
  }
}

async function openAlone(file: string): Promise<Awaited<ReturnType<typeof open>> | undefined> {
  try {
    const folder = await stat(dirname(file))
    // A folder such as /tmp keeps others from replacing what is mine.
    const sticky = (folder.mode & 0o1000) !== 0
    if (process.platform !== 'win32' && (folder.mode & 0o022) !== 0 && !sticky)
      throw unsafe(file, 'others can write its folder', `chmod go-w ${JSON.stringify(dirname(file))}`)
    return await open(file, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0))
  } catch (error) {
    if (error instanceof ConvokeError) throw error
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return undefined
    if (code === 'ELOOP') throw unsafe(file, 'it is a link', 'name the file itself')
    throw unreadable(file, code ?? 'it cannot be opened')
  }
}

function assertAlone(file: string, mode: number, uid: number, isFile: boolean): void {
  if (!isFile) throw unsafe(file, 'it is no file', 'name a file')
  if (process.platform === 'win32') return
  if ((mode & 0o077) !== 0)
    throw unsafe(
      file,
      `its mode is ${(mode & 0o777).toString(8).padStart(4, '0')}`,
      `chmod 600 ${JSON.stringify(file)}, and change the secrets that were in it`,
    )
  const me = process.getuid?.()
  if (me !== undefined && uid !== me && uid !== 0) throw unsafe(file, 'it belongs to another user', 'own the file')
}

function valuesOf(file: string, text: string): ReadonlyMap<string, string> {
  let data: unknown
  try {
    data = JSON.parse(text)
  } catch {
    // The parser's own words quote the text.
    throw unreadable(file, 'it is not JSON')
  }
  if (typeof data !== 'object' || data === null || Array.isArray(data)) throw unreadable(file, 'it is no JSON object')
  const values = new Map<string, string>()
  for (const [name, value] of Object.entries(data)) {
    if (typeof value !== 'string') throw unreadable(file, `${JSON.stringify(name)} is no text`)
    values.set(name, value)
  }
  return values
}

function unsafe(file: string, why: string, next: string): ConvokeError {
  return new ConvokeError('SECRET_STORE_UNSAFE', `${file} cannot hold secrets: ${why}`, {
    details: { file, why },
    next,
  })
}

function unreadable(file: string, why: string): ConvokeError {
  return new ConvokeError('SECRET_MISSING', `the secrets in ${file} cannot be read: ${why}`, {
    details: { file, why },
    next: 'write a JSON object of names and texts',
  })
}
