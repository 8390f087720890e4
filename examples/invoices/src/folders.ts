import { existsSync } from 'node:fs'
import { mkdir, readdir, rm, rmdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'

/** With its parents, one after the other: `mkdir` of Node with `recursive` never ends where a file system denies (/proc). */
export async function makeFolder(dir: string): Promise<void> {
  if (existsSync(dir)) return
  if (dirname(dir) !== dir) await makeFolder(dirname(dir))
  await mkdir(dir, { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error
  })
}

const ours = {
  store: /^(ledger\.db(-wal|-shm)?|wake|tail|turn|workers|erp\.port|demo)$/,
  erpData: /^erp\.(sqlite(-wal|-shm)?|lock)$/,
  outbox: /\.eml(\.\d+)?$|^released$/,
}

/**
 * What `--fresh` forgets: the ledger, the ERP's books and the drafts, by their names. The folders are the caller's, and
 * whatever else lies in them stays.
 */
export async function forget(folders: { readonly [K in keyof typeof ours]: string }): Promise<void> {
  for (const kind of ['outbox', 'erpData', 'store'] as const) {
    const folder = folders[kind]
    const names = await readdir(folder).catch(() => [])
    for (const name of names) if (ours[kind].test(name)) await rm(join(folder, name), { recursive: true, force: true })
    await rmdir(folder).catch(() => undefined)
  }
}
