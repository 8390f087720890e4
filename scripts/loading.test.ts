/**
 * What a program has loaded after `import 'convoke'`, and after its first run: whatever comes with the import stands
 * before the ledger's thread (ARCHITECTURE.md, _A start_). In processes of their own, on sources and on `dist`, which
 * a test run builds first.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, test } from 'vitest'

const root = join(import.meta.dirname, '..')
const dist = join(root, 'packages/convoke/dist')
const source = join(root, 'packages/convoke/src')
const folder = mkdtempSync(join(tmpdir(), 'convoke-loading-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const program = `
  import { registerHooks } from 'node:module'
  const loaded = []
  const has = (name) => process.moduleLoadList.includes('NativeModule ' + name)
  const loadedNow = () => ({ files: [...loaded], crypto: has('crypto'), sqlite: has('sqlite') })
  registerHooks({ load: (url, context, next) => (loaded.push(url), next(url, context)) })
  const { convoke, workflow } = await import('convoke')
  const hello = workflow({ name: 'hello' }, async (run) => await run.step('name', () => 'world'))
  const app = convoke({ store: process.argv[2], workflows: { hello } })
  const imported = loadedNow()
  await (await app.start(hello, null)).result()
  await app.close()
  const ran = loadedNow()
  console.log(JSON.stringify({ imported, ran }))
`

interface Loaded {
  readonly files: readonly string[]
  readonly crypto: boolean
  readonly sqlite: boolean
}

function loadedBy(name: string, options: readonly string[]): { readonly imported: Loaded; readonly ran: Loaded } {
  const { NODE_OPTIONS: _, ...env } = process.env
  const args = [...options, '--input-type=module', '-e', program, join(folder, name)]
  const said = JSON.parse(execFileSync(process.execPath, args, { cwd: root, env, encoding: 'utf8' })) as ReturnType<
    typeof loadedBy
  >
  const own = ({ files, ...rest }: Loaded): Loaded => ({
    ...rest,
    files: files.filter((url) => url.startsWith('file:')).map((url) => fileURLToPath(url)),
  })
  return { imported: own(said.imported), ran: own(said.ran) }
}

function bytes(files: readonly string[]): number {
  return files.reduce((sum, file) => sum + statSync(file).size, 0)
}

test('sources: importing brings definers and the ledger’s client; a run brings the rooms', () => {
  const { imported, ran } = loadedBy('sources', ['--conditions=convoke-source'])
  const operations = [
    'agents/ask.ts',
    'agents/loop.ts',
    'app/opened.ts',
    'gateway/call.ts',
    'gateway/gate.ts',
    'replay/drive.ts',
    'replay/engine.ts',
  ].map((path) => join(source, path))
  expect(imported.files).toContain(join(source, 'index.ts'))
  expect(operations.filter((path) => imported.files.includes(path))).toEqual([])
  expect(operations.filter((path) => !ran.files.includes(path))).toEqual([])
  // The ledger's engine comes while the ledger opens.
  const engine = join(source, 'ledger-sqlite/engine.ts')
  expect([imported.files.includes(engine), ran.files.includes(engine)]).toEqual([false, true])
  // 254 KB when this was written; 859 KB before rooms were loaded late.
  expect(bytes(imported.files)).toBeLessThan(300_000)
})

describe('dist', () => {
  test('importing loads the eager file alone and no cryptography; a run loads the embedded ledger and one more, and what is seldom used stays', () => {
    expect(existsSync(join(dist, 'index.js')), 'npm run build').toBe(true)
    const { imported, ran } = loadedBy('dist', [])
    const named = (files: readonly string[]): string[] =>
      files.map((file) => basename(file).replace(/(-[\w-]{8})?\.js$/, '')).toSorted()
    expect(named(imported.files)).toEqual(['core', 'index'])
    expect(named(ran.files)).toEqual(['core', 'index', 'ledger', 'rolldown-runtime', 'run'])
    expect([imported.crypto, ran.crypto]).toEqual([false, true])
    expect([imported.sqlite, ran.sqlite]).toEqual([false, true])
  })

  test('every subpath has the same instance of what it shares', () => {
    const file = join(folder, 'no-folder')
    writeFileSync(file, '')
    const says = `
      import { ConvokeError } from 'convoke'
      import { openSqliteLedger } from 'convoke/sqlite'
      import { ConvokeError as adapters } from 'convoke/adapter'
      const error = await openSqliteLedger({ dir: ${JSON.stringify(file)} }).catch((e) => e)
      console.log(error instanceof ConvokeError, adapters === ConvokeError)
    `
    const { NODE_OPTIONS: _, ...env } = process.env
    const args = ['--input-type=module', '-e', says]
    expect(execFileSync(process.execPath, args, { cwd: root, env, encoding: 'utf8' }).trim()).toBe('true true')
  })
})
