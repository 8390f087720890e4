/**
 * The README's commands as somebody who is not root, in a copy of this tree, with a home folder of their own and nothing
 * else that they may write: nothing may depend on the rights of whoever runs the checks.
 */
import { execFileSync, spawnSync, type SpawnSyncReturns } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  statSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { root } from './pack.ts'

const nobody = 65_534
const isRoot = process.getuid?.() === 0
const as = isRoot ? ['setpriv', `--reuid=${nobody}`, `--regid=${nobody}`, '--clear-groups', '--'] : []

let base = ''
let tree = ''
let why = ''

/** The tree without its history; `node_modules` as further names of the same files, which costs no space. */
function copyTree(): void {
  const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], { cwd: root })
  for (const file of files.toString().trim().split('\n'))
    if (existsSync(join(root, file))) {
      mkdirSync(dirname(join(tree, file)), { recursive: true })
      cpSync(join(root, file), join(tree, file))
    }
  for (const dist of globSync('packages/*/dist', { cwd: root }))
    cpSync(join(root, dist), join(tree, dist), { recursive: true })
  // Before node_modules are there: those files are the originals.
  if (isRoot) execFileSync('chown', ['-R', `${nobody}:${nobody}`, tree, join(base, 'home')])
  for (const modules of ['node_modules', ...globSync('{examples,packages}/*/node_modules', { cwd: root })])
    if (existsSync(join(root, modules))) execFileSync('cp', ['-al', join(root, modules), join(tree, modules)])
}

function run(command: string, ...args: string[]): SpawnSyncReturns<string> {
  const [first = command, ...rest] = [...as, command, ...args]
  const { PATH = '' } = process.env
  return spawnSync(first, rest, {
    cwd: tree,
    encoding: 'utf8',
    env: {
      HOME: join(base, 'home'),
      PATH: `${join(tree, 'node_modules', '.bin')}:${PATH}`,
      TMPDIR: join(base, 'home'),
    },
  })
}

beforeAll(() => {
  base = realpathSync(mkdtempSync(join(tmpdir(), 'convoke-nobody-')))
  chmodSync(base, 0o755)
  tree = join(base, 'tree')
  mkdirSync(tree)
  mkdirSync(join(base, 'home'))
  try {
    copyTree()
    const looked = run('node', '-e', 'require("node:fs").readFileSync("node_modules/zod/package.json")')
    if (looked.status !== 0)
      why = `user ${nobody} cannot run here: ${looked.error?.message ?? looked.stderr.split('\n')[4] ?? ''}`
  } catch (error) {
    why = `no copy for another user: ${(error as Error).message}`
  }
}, 180_000)
afterAll(() => rmSync(base, { recursive: true, force: true }), 180_000)

test('npm start, the built command line and hello, by a user without rights', (context) => {
  if (why !== '') return context.skip(why)
  const started = run('npm', 'start')
  expect([started.status, started.stderr], started.stdout).toEqual([0, expect.not.stringContaining('EACCES')])
  expect(started.stdout + started.stderr).toContain('0 repeated effects')
  if (isRoot) expect(statSync(join(tree, '.convoke', 'ledger.db')).uid).toBe(nobody)

  const runs = run('npx', 'convoke', 'runs', '--limit', '50', '-o', 'json')
  expect(runs.status).toBe(0)
  expect((JSON.parse(runs.stdout) as unknown[]).length).toBeGreaterThan(10)
  expect(run('npx', 'convoke', 'audit', 'verify')).toMatchObject({ status: 0 })
  const doctor = run('npx', 'convoke', 'doctor')
  expect(doctor.status, doctor.stdout).toBe(0)

  const hello = run('npm', 'run', 'hello')
  expect([hello.status, hello.stdout]).toEqual([0, expect.stringContaining('order 4711')])
}, 300_000)
