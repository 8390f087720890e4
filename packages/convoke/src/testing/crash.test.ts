import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { casesOf, crashEverywhere } from './crash.ts'

// Programs of a few lines with a state file, to see what the helper sees. `p` reaches a named point.
const head = `
import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { probeFromEnv } from ${JSON.stringify(new URL('probe.ts', import.meta.url).href)}
const dir = process.argv[2]
const p = probeFromEnv() ?? (() => undefined)
const state = dir + '/state'
const at = existsSync(state) ? Number(readFileSync(state, 'utf8')) : 0
const effect = (name) => appendFileSync(dir + '/effects', name + '\\n')
`
const careful = `for (let i = at; i < 3; i++) {
  p('before')
  if (!existsSync(dir + '/effects') || !readFileSync(dir + '/effects', 'utf8').includes('e' + i)) effect('e' + i)
  p('between')
  writeFileSync(state, String(i + 1))
}
p('end')
console.log('done')`
const careless = careful.replace(/if \(.*?\)\) effect/, 'effect')
const forgetful = careful.replace("console.log('done')", "console.log('done from ' + at)")
const stuck = careful.replace('for (', 'if (at > 0) process.exit(9)\nfor (')

let folder = ''
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'convoke-crash-test-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function program(name: string, code: string): string {
  const path = join(folder, `${name}.mjs`)
  writeFileSync(path, head + code)
  return path
}

const effects = (dir: string): string[] => readFileSync(join(dir, 'effects'), 'utf8').trim().split('\n')
const options = { execArgv: [], counterpart: effects }

test('crashEverywhere kills at every point and occurrence, and is content with a program that goes on rightly', async () => {
  const folders: string[] = []
  const report = await crashEverywhere({
    ...options,
    program: program('careful', careful),
    setUp: (dir) => void folders.push(dir),
    onKilled: (dir) => appendFileSync(join(dir, 'killed'), 'x'),
  })
  expect(report).toEqual({ points: ['before', 'between', 'end'], cases: 7, killed: 7, runs: 15, failures: [] })
  expect(new Set(folders).size).toBe(8)
})

test('it finds a repeated effect, another answer, and a program that does not finish', async () => {
  const repeated = await crashEverywhere({ ...options, program: program('careless', careless) })
  expect(repeated.failures.map((f) => [f.point, f.occurrence])).toEqual([
    ['between', 1],
    ['between', 2],
    ['between', 3],
  ])
  expect(repeated.failures[0]?.why).toBe('outside: ["e0","e0","e1","e2"] instead of ["e0","e1","e2"]')
  const answered = await crashEverywhere({ ...options, program: program('forgetful', forgetful), occurrences: 'ends' })
  expect(answered.failures.map((f) => f.why)).toContain('another answer: done from 3\n instead of done from 0\n')
  const never = await crashEverywhere({ ...options, program: program('stuck', stuck), points: (p) => p === 'end' })
  expect(never.failures.map((f) => f.why)).toEqual(['it did not finish: code 9'])
})

test('RUN_FAILED when there is nothing to compare with', async () => {
  await expect(crashEverywhere({ ...options, program: program('broken', 'process.exit(1)') })).rejects.toThrow(
    'the program failed undisturbed: code 1',
  )
  await expect(crashEverywhere({ ...options, program: program('silent', 'effect(1)') })).rejects.toThrow(
    'reached no named point',
  )
})

test('cases: all occurrences, or the first, middle and last, or a sample of them', () => {
  const reached = ['a', 'b', 'a', 'a', 'a', 'a']
  expect(casesOf(reached, {}).map((c) => `${c.point}${c.occurrence}`)).toEqual(['a1', 'a2', 'a3', 'a4', 'a5', 'b1'])
  expect(casesOf(reached, { occurrences: 'ends' }).map((c) => `${c.point}${c.occurrence}`)).toEqual([
    'a1',
    'a3',
    'a5',
    'b1',
  ])
  expect(casesOf(reached, { every: 4, points: (p) => p === 'a' }).map((c) => c.occurrence)).toEqual([1, 5])
})
