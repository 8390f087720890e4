/**
 * Lint must be able to fail: the canaries under scripts/canaries break rules on purpose, and stand in a copy of the
 * house (temporary folder, the very same .oxlintrc.json) because the floors are paths. The controls show that a rule
 * does not simply report everything.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

const root = resolve(import.meta.dirname, '..')
const oxlint = join(root, 'node_modules', 'oxlint', 'bin', 'oxlint')

interface Diagnostic {
  filename: string
  code: string
  message: string
  labels: { span: { line: number } }[]
}

let house = ''
let found: Diagnostic[] = []

beforeAll(() => {
  house = mkdtempSync(join(tmpdir(), 'convoke-canaries-'))
  cpSync(join(root, 'scripts', 'canaries'), house, { recursive: true })
  cpSync(join(root, 'scripts', 'lint'), join(house, 'scripts', 'lint'), { recursive: true })
  cpSync(join(root, 'packages', 'convoke', 'lint'), join(house, 'packages', 'convoke', 'lint'), { recursive: true })
  for (const file of ['.oxlintrc.json', 'tsconfig.base.json', 'tsconfig.json'])
    cpSync(join(root, file), join(house, file))
  symlinkSync(join(root, 'node_modules'), join(house, 'node_modules'))
  const run = spawnSync(process.execPath, [oxlint, '-f', 'json', 'packages', 'examples'], {
    cwd: house,
    encoding: 'utf8',
  })
  expect(run.status, run.stderr).toBe(1)
  found = (JSON.parse(run.stdout) as { diagnostics: Diagnostic[] }).diagnostics
})

afterAll(() => rmSync(house, { recursive: true, force: true }))

const codes = (file: string): string[] => found.filter((d) => d.filename.endsWith(file)).map((d) => d.code)
const count = (file: string, code: string): number => codes(file).filter((c) => c === code).length

describe('floors', () => {
  test('core may not reach up, not by import, type, re-export or dynamic import, nor out to files and npm', () => {
    expect(count('core/reaches-up.ts', 'boundaries(dependencies)')).toBe(6)
  })
  test.each([
    'contracts/reaches-gateway.ts',
    'ledger-sqlite/reaches-replay.ts',
    'app/knows-adapter.ts',
    'cli/src/deep.ts',
  ])('%s is caught', (file) => {
    expect(codes(file)).toEqual(['boundaries(dependencies)'])
  })
  test('a room without a floor is caught', () => {
    expect(codes('odd/no-floor.ts')).toEqual(['boundaries(no-unknown-files)'])
  })
  test('allowed imports are not reported', () => {
    for (const file of ['core/clean.ts', 'gateway/clean.ts', 'src/composed.ts']) expect(codes(file)).toEqual([])
  })
})

describe('other rules of the house', () => {
  test('a cycle is caught', () => {
    expect(count('core/cycle-a.ts', 'import(no-cycle)') + count('core/cycle-b.ts', 'import(no-cycle)')).toBeGreaterThan(
      0,
    )
  })
  test('clock, dice, files, a floating promise, any and export * are caught in replayed code', () => {
    expect(codes('replay/ambient.ts').sort()).toEqual([
      'boundaries(dependencies)',
      'house(no-ambient)',
      'house(no-ambient)',
      'house(no-ambient)',
      'house(no-ambient)',
      'house(no-export-all)',
      'typescript(no-explicit-any)',
      'typescript(no-floating-promises)',
    ])
  })
})

test('a variable shared between branches is caught, and what stays within a branch is not', () => {
  const lines = readFileSync(join(root, 'scripts/canaries/examples/shared/src/branches.ts'), 'utf8').split('\n')
  const wrong = lines.flatMap((line, i) => (line.includes('// caught') ? [i + 1] : []))
  const hits = found.filter((d) => d.code === 'convoke(no-shared-branch-variable)')
  expect(wrong.length).toBe(6)
  expect(hits.map((d) => d.labels[0]?.span.line).toSorted((a = 0, b = 0) => a - b)).toEqual(wrong)
})

/**
 * Files over the cap, each with its own length as its cap. The list may only shrink: a new entry must displace this
 * number, and an entry must be lowered as soon as its file is.
 */
const EXEMPTIONS = 0

interface Override {
  files: string[]
  rules: Record<string, unknown>
}

test('max-lines exemptions are named, exact and no more than there were', () => {
  const config = JSON.parse(
    execFileSync(process.execPath, [oxlint, '--print-config'], { cwd: root, encoding: 'utf8' }),
  ) as { rules: Record<string, unknown>; overrides: Override[] }
  expect(JSON.stringify(config.rules['max-lines'])).toContain('"max":350')
  const entries = config.overrides.flatMap((o) => {
    const rule = o.rules['max-lines']
    if (rule === undefined) return []
    const max = Number(/"max":\s*(\d+)/.exec(JSON.stringify(rule))?.[1])
    return o.files.map((file) => ({ file, max }))
  })
  expect(entries.length).toBeGreaterThan(0)
  const exempt = entries.filter((e) => e.max !== 800 || !e.file.includes('*'))
  expect(exempt.length).toBeLessThanOrEqual(EXEMPTIONS)
  for (const { file, max } of exempt) {
    expect(file).not.toContain('*')
    const lines = readFileSync(join(root, file), 'utf8').trimEnd().split('\n').length
    expect(lines, `${file} shrank: lower its cap in .oxlintrc.json to ${lines}`).toBe(max)
  }
})
