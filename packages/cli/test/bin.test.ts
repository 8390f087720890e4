/** The command's first act is to look at Node's version: on the machine's own older Node where there is one, and simulated. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

const bin = resolve(import.meta.dirname, '..', 'bin', 'convoke.js')

/** Whether a version is older than the command needs; a second writing of the rule, so that a slip in one shows. */
const tooOld = (version: string): boolean => {
  const [major = 0, minor = 0] = version.replace('v', '').split('.').map(Number)
  return major * 1000 + minor < 24_015
}

function olderNode(): { path: string; version: string } | undefined {
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    const path = join(folder, 'node')
    if (!existsSync(path)) continue
    const version = spawnSync(path, ['--version'], { encoding: 'utf8' }).stdout.trim()
    if (/^v\d+/.test(version) && tooOld(version)) return { path, version }
  }
  return undefined
}

const older = olderNode()
let folder = ''
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'convoke-bin-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Runs the bin on this Node, made to believe that it is another version. */
function pretending(version: string): ReturnType<typeof spawnSync> {
  const preload = join(folder, 'pretend.cjs')
  writeFileSync(preload, `Object.defineProperty(process, 'version', { value: '${version}' })`)
  return spawnSync(process.execPath, ['-r', preload, bin, '--version'], { encoding: 'utf8' })
}

describe('convoke on a Node that is too old', () => {
  test.each(['v24.14.1', 'v22.20.0', 'v12.0.0'])('%s is refused before anything loads', (version) => {
    const done = pretending(version)
    expect(done.status).toBe(2)
    expect(done.stdout).toBe('')
    expect(done.stderr).toContain('NODE_TOO_OLD')
    expect(done.stderr).toContain('24.15')
    expect(done.stderr).toContain(version)
    expect(done.stderr).toContain('npm install node@24')
  })

  test.each(['v24.15.0', 'v24.21.0', 'v26.0.0'])('%s is let through', (version) => {
    expect(pretending(version).stderr).not.toContain('NODE_TOO_OLD')
  })

  test.skipIf(older === undefined)(`the machine's own older Node (${older?.version ?? 'none here'})`, () => {
    const done = spawnSync(older?.path ?? '', [bin, 'runs'], { encoding: 'utf8' })
    expect(done.status).toBe(2)
    expect(done.stderr).toContain(`NODE_TOO_OLD`)
    expect(done.stderr).toContain(older?.version)
  })
})
