/**
 * Builds the packages: `npm run build`, or with `--if-stale` only when a source is newer than the last build. What runs
 * from sources needs a build as well: the ledger's thread is always the built one (ledger-sqlite/thread.ts).
 */
import { spawnSync } from 'node:child_process'
import { existsSync, globSync, mkdirSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

const root = join(import.meta.dirname, '..')
/** Written when all is built. */
const stamp = join(root, 'node_modules/.cache/built')
const sources = ['packages/*/src/**/*.ts', 'packages/*/{package,tsconfig.build}.json', 'scripts/{build,bundle}.ts']
const first = 'packages/convoke'
const others = ['cli', 'postgres', 'restate', 'openapi', 'mcp', 'guardrails']

function run(script: string, args: readonly string[]): void {
  const { status } = spawnSync(process.execPath, [join(root, script), ...args], { cwd: root, stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}

function isStale(): boolean {
  const built = [first, ...others.map((name) => `packages/${name}`)].map((folder) =>
    join(root, folder, 'dist/index.js'),
  )
  if (![stamp, ...built].every((path) => existsSync(path))) return true
  const at = statSync(stamp).mtimeMs
  return globSync(sources, { cwd: root }).some(
    (path) => !path.endsWith('.test.ts') && statSync(join(root, path)).mtimeMs > at,
  )
}

const tsc = (folders: readonly string[]): void =>
  run('node_modules/typescript/bin/tsc', ['-b', ...folders.map((folder) => `${folder}/tsconfig.build.json`)])

if (!process.argv.includes('--if-stale') || isStale()) {
  const began = Date.now() / 1000
  tsc([first])
  run('scripts/bundle.ts', [first])
  tsc(others.map((name) => `packages/${name}`))
  mkdirSync(dirname(stamp), { recursive: true })
  writeFileSync(stamp, '')
  // A source that was changed in the meantime is newer.
  utimesSync(stamp, began, began)
}
