/**
 * What users get: the tarballs, installed into an empty folder with npm, run on Node from `dist`. Slow (npm fetches the
 * dependencies); needs the registry and a build (a test run builds first).
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import * as source from 'convoke'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { onOneMachine, pack, root } from './pack.ts'

const hello = join(root, 'examples', 'hello', 'src', 'main.ts')
const subpaths = ['convoke', 'convoke/sqlite', 'convoke/testing']
let folder = ''

/** Runs a command in the empty folder on the Node of this test, without any condition that leads to sources. */
function run(command: string, args: string[]): { status: number | null; stdout: string; stderr: string } {
  const { NODE_OPTIONS: _, ...env } = process.env
  const PATH = `${dirname(process.execPath)}${delimiter}${env['PATH'] ?? ''}`
  return spawnSync(command, args, { cwd: folder, encoding: 'utf8', env: { ...env, PATH } })
}

beforeAll(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'convoke-user-')))
  const tarballs = onOneMachine.map((path) => pack(path, folder).tarball)
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'a-user', private: true, type: 'module' }))
  const args = ['install', '--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error', ...tarballs]
  execFileSync('npm', args, { cwd: folder, stdio: 'pipe' })
}, 180_000)

afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('the packed packages in an empty folder', () => {
  test('every public subpath loads from dist and exports what the sources export', () => {
    writeFileSync(
      join(folder, 'tiny.js'),
      `const found = {}
       for (const name of ${JSON.stringify(subpaths)}) {
         found[name] = { url: import.meta.resolve(name), names: Object.keys(await import(name)) }
       }
       console.log(JSON.stringify(found))`,
    )
    const done = run(process.execPath, ['tiny.js'])
    expect(done.stderr).toBe('')
    const found = JSON.parse(done.stdout) as Record<string, { url: string; names: string[] }>
    for (const name of subpaths) expect(found[name]?.url).toContain('/node_modules/convoke/dist/')
    expect(Object.keys(source)).not.toEqual([])
    expect(found['convoke']?.names.toSorted()).toEqual(Object.keys(source).toSorted())
  })

  test('the convoke command starts', () => {
    const done = run(join(folder, 'node_modules', '.bin', 'convoke'), ['--version'])
    expect(done.stderr).toBe('')
    expect(done.status).toBe(0)
    expect(done.stdout.trim()).toMatch(/^\d+\.\d+\.\d+/)
  })

  test('ADAPTER_MISSING: a store whose package is not installed says which to install', () => {
    writeFileSync(
      join(folder, 'elsewhere.js'),
      `import { convoke } from 'convoke'
       await convoke({ store: 'postgres://127.0.0.1:1/x', workflows: {} }).runs().catch((e) => console.log(e.code, e.next))`,
    )
    const done = run(process.execPath, ['elsewhere.js'])
    expect([done.stderr, done.stdout]).toEqual(['', 'ADAPTER_MISSING npm install @convoke/postgres\n'])
  })

  test.skipIf(!existsSync(hello))('the hello example runs on it', () => {
    cpSync(dirname(hello), join(folder, 'hello'), { recursive: true })
    const done = run(process.execPath, [join('hello', 'main.ts')])
    expect(done.stderr).not.toContain('Error')
    expect(done.status).toBe(0)
    expect(done.stdout).not.toBe('')
  })
})
