import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { forget, makeFolder } from './folders.ts'

let dir: string
beforeEach(async () => (dir = await mkdtemp(join(tmpdir(), 'convoke-folders-'))))
afterEach(() => rm(dir, { recursive: true, force: true }))

test('--fresh forgets the ledger, the books and the drafts, and leaves what else lies there', async () => {
  const put = async (...names: string[]): Promise<void> => {
    for (const name of names) {
      await mkdir(join(dir, name, '..'), { recursive: true })
      await writeFile(join(dir, name), '')
    }
  }
  await put('ledger.db', 'ledger.db-wal', 'workers/w.lock', 'erp.port', 'notes.txt', 'photos/ledger.db')
  await put('erp/erp.sqlite', 'erp/erp.lock', 'outbox/a.eml', 'outbox/released/a.eml')
  const folders = { store: dir, erpData: join(dir, 'erp'), outbox: join(dir, 'outbox') }
  await forget(folders)
  expect((await readdir(dir)).sort()).toEqual(['notes.txt', 'photos'])
  expect(await readdir(join(dir, 'photos'))).toEqual(['ledger.db'])
  await forget({ store: join(dir, 'none'), erpData: join(dir, 'none'), outbox: join(dir, 'none') })
})

test('a folder is made with its parents; where that is denied it is said, and nothing hangs', async () => {
  await makeFolder(join(dir, 'a', 'b'))
  await makeFolder(join(dir, 'a', 'b'))
  expect(await readdir(join(dir, 'a'))).toEqual(['b'])
  await writeFile(join(dir, 'file'), '')
  await expect(makeFolder(join(dir, 'file', 'b'))).rejects.toThrow('ENOTDIR')
  if (process.platform === 'linux') await expect(makeFolder('/proc/convoke/b')).rejects.toThrow('ENOENT')
})
