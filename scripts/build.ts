/**
 * Builds the packages: `npm run build`, or with `--if-stale` only when the sources are not those of the last build. What
 * runs from sources needs a build as well: the ledger's thread is always the built one (ledger-sqlite/thread.ts).
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, globSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const root = join(import.meta.dirname, '..')
/** Says what was built, when all of it is: what sources say, not when they were written, since copies are as good. */
const stamp = join(root, 'packages/convoke/dist/.built')
const sources = ['packages/*/src/**/*.ts', 'packages/*/{package,tsconfig.build}.json', 'scripts/{build,bundle}.ts']
const first = 'packages/convoke'
const others = ['cli', 'postgres', 'restate', 'openapi', 'mcp', 'guardrails']

function run(script: string, args: readonly string[]): void {
  const { status } = spawnSync(process.execPath, [join(root, script), ...args], { cwd: root, stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}

function digest(): string {
  const hash = createHash('sha256')
  for (const path of globSync([...sources, 'tsconfig.base.json', 'package-lock.json'], { cwd: root }).sort())
    if (!path.endsWith('.test.ts')) hash.update(`${path}\0`).update(readFileSync(join(root, path)))
  return hash.digest('hex')
}

function isBuilt(): boolean {
  const built = [first, ...others.map((name) => `packages/${name}`)].map((folder) =>
    join(root, folder, 'dist/index.js'),
  )
  return [stamp, ...built].every((path) => existsSync(path)) && readFileSync(stamp, 'utf8') === digest()
}

const tsc = (folders: readonly string[]): void =>
  run('node_modules/typescript/bin/tsc', ['-b', ...folders.map((folder) => `${folder}/tsconfig.build.json`)])

if (!process.argv.includes('--if-stale') || !isBuilt()) {
  // A source that changes meanwhile makes it stale; one that is broken off is none.
  const now = digest()
  rmSync(stamp, { force: true })
  tsc([first])
  run('scripts/bundle.ts', [first])
  tsc(others.map((name) => `packages/${name}`))
  writeFileSync(stamp, now)
}
