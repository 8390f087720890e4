/** What a person is asked at a terminal: in a real one, typed at as a person would. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { json, place, type Place } from './support/cli.ts'
import { canTerminal, inTerminal, type Seen } from './support/terminal.ts'

vi.setConfig({ testTimeout: 180_000 })

if (!canTerminal) console.warn('skipped: prompts are tested in a pseudo-terminal of python3, which is not here')

const app = join(import.meta.dirname, 'support/mcp.config.ts')
let at: Place
beforeEach(() => {
  at = place()
})
afterEach(() => at.remove())

const question = 'accept notes.add? [y/N] '
const accept = (type: string, env: Readonly<Record<string, string>> = {}): Promise<Seen> =>
  inTerminal(['mcp', 'accept', 'notes', 'add', '--by', 'ada', '--app', app], [{ after: question, type }], {
    cwd: at.dir,
    env: { NOTES: at.dir, ...env },
  })
const pins = (): string => join(at.dir, 'convoke.mcp.json')
const acts = async (): Promise<unknown> => {
  const { out, code } = await at.cli(['audit', 'acts', '-o', 'json', '--app', app], {
    bare: true,
    env: { NOTES: at.dir },
  })
  return code === 0 ? json(out) : undefined
}

test.skipIf(!canTerminal)('convoke mcp accept shows the difference, asks, and takes yes', async () => {
  const { code, screen } = await accept('y\r')
  expect(code, screen).toBe(0)
  const asked = screen.indexOf(question)
  expect(asked).toBeGreaterThan(0)
  // What is accepted was on the screen before the question.
  const before = screen.slice(0, asked)
  expect(before).toContain('+ description: Adds a note.')
  expect(before).toMatch(/notes\.add {2}new {2}[0-9a-f]{64}\n/)
  const [, hash = ''] = /notes\.add {2}new {2}([0-9a-f]{64})/.exec(before) ?? []
  expect(screen.slice(asked)).toContain(`accepted notes.add ${hash} by ada`)
  expect(JSON.parse(readFileSync(pins(), 'utf8'))).toMatchObject({ tools: { 'notes.add': { hash, by: 'ada' } } })
  expect(await acts()).toMatchObject([{ type: 'tool.accepted', by: { id: 'ada' }, what: { tool: 'notes.add', hash } }])
})

test.skipIf(!canTerminal).each([
  ['no', 'n\r', 1],
  ['nothing but Enter', '\r', 1],
  ['something else', 'yess\r', 1],
  ['the end of input', '\x04', 1],
  ['Ctrl-C', '\x03', 130],
] as const)('convoke mcp accept takes %s for a no: nothing is accepted, nor on record', async (_, type, code) => {
  const seen = await accept(type)
  expect(seen.code, seen.screen).toBe(code)
  expect(seen.screen).toContain(code === 130 ? 'INTERRUPTED' : 'nothing was accepted')
  expect(seen.screen).not.toContain('    at ')
  expect(seen.screen).toContain(question)
  expect(seen.screen).not.toContain('accepted notes.add')
  expect(existsSync(pins())).toBe(false)
  expect(await acts()).toBeUndefined()
})

test.skipIf(!canTerminal)('in CI nobody is asked, terminal or not (USAGE)', async () => {
  const { code, screen } = await accept('y\r', { CI: 'true' })
  expect(code).toBe(2)
  expect(screen).toContain('USAGE')
  expect(screen).not.toContain(question)
  expect(existsSync(pins())).toBe(false)
})
