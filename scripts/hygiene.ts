/**
 * Looks at the packed packages the way a registry's users meet them: publint on the manifest, attw on the types, and
 * nothing inside that was not meant to be; and that the repository holds no links.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pack, published, root } from './pack.ts'

const STRAY = /(?:^|\/)(?:src|test|testdata|node_modules|\.[^/]+)(?:\/|$)|\.test\.|\.tsbuildinfo$|\.canary\./
const NEEDED = ['package.json', 'LICENSE', 'dist/index.js', 'dist/index.d.ts']

const bin = (name: string): string => join(root, 'node_modules', '.bin', name)

function run(name: string, args: string[]): boolean {
  const done = spawnSync(bin(name), args, { cwd: root, encoding: 'utf8', env: { ...process.env, NO_COLOR: '1' } })
  if (done.status === 0) return true
  process.stderr.write(`${name} ${args.join(' ')}\n${done.stdout}${done.stderr}\n`)
  return false
}

/** A link in a repository leads to somebody's own folders, and a checkout puts it in the place of what stands there. */
function links(): string[] {
  const { stdout } = spawnSync('git', ['ls-files', '--stage'], { cwd: root, encoding: 'utf8' })
  return stdout.split('\n').flatMap((line) => (line.startsWith('120000 ') ? [line.split('\t')[1] ?? ''] : []))
}

const into = mkdtempSync(join(tmpdir(), 'convoke-pack-'))
let clean = true
for (const path of links()) {
  process.stderr.write(`${path} is a symbolic link\n`)
  clean = false
}
try {
  for (const folder of published) {
    const packed = pack(folder, into)
    const stray = packed.files.filter((path) => STRAY.test(path))
    const missing = NEEDED.filter((path) => !packed.files.includes(path))
    for (const path of stray) process.stderr.write(`${packed.name}: ships ${path}\n`)
    for (const path of missing) process.stderr.write(`${packed.name}: lacks ${path}\n`)
    const linted = run('publint', ['run', packed.tarball, '--strict'])
    const typed = run('attw', [packed.tarball, '--profile', 'esm-only', '--no-emoji', '--no-color'])
    clean &&= linted && typed && stray.length === 0 && missing.length === 0
    process.stdout.write(
      `hygiene: ${packed.name}, ${packed.files.length} files, ${Math.ceil(packed.unpackedSize / 1024)} KiB\n`,
    )
  }
} finally {
  rmSync(into, { recursive: true, force: true })
}
process.exitCode = clean ? 0 : 1
