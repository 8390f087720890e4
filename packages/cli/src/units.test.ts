import type { Command } from 'commander'
import { ConvokeError, type RunRow } from 'convoke'
import { describe, expect, test } from 'vitest'
import { parseSet } from './commands/fork.ts'
import { exitCodeOf, exitCodeOfRun } from './exit.ts'
import { ago, asTyped, mayColor, styleFor, table } from './output.ts'
import { buildProgram } from './program.ts'

const row = (more: Partial<RunRow>): RunRow => ({
  tenant: 'local',
  run: 'r',
  workflow: 'w',
  version: '1',
  status: 'done',
  priority: 0,
  tags: [],
  startedAt: 0,
  updatedAt: 0,
  root: 'r',
  ...more,
})

describe('exit codes', () => {
  test.each([
    ['RUN_UNKNOWN', 2],
    ['APPROVAL_DECIDED', 1],
    ['REPLAY_DIVERGED', 1],
    ['MAYBE_EXECUTED', 3],
    ['SCOPE_DENIED', 4],
    ['LEDGER_BUSY', 5],
    ['LEDGER_FULL', 5],
    ['BUDGET_EXCEEDED', 6],
    ['AUDIT_FAILED', 1],
    ['INTERRUPTED', 130],
    ['CODE_OF_THE_APP', 1],
  ])('%s is %i', (code, exit) => {
    expect(exitCodeOf(new ConvokeError(code, ''))).toBe(exit)
  })

  test.each([
    [{ status: 'done' }, 0],
    [{ status: 'parked', parkedOn: 'person' }, 3],
    [{ status: 'parked', parkedOn: 'budget' }, 6],
    [{ status: 'failed', error: 'STEP_FAILED' }, 1],
    [{ status: 'failed', error: 'APPROVAL_REJECTED' }, 4],
    [{ status: 'failed', error: 'MODEL_UNREACHABLE' }, 5],
    [{ status: 'failed', error: 'BUDGET_EXCEEDED' }, 6],
    // What a step was given wrongly is no mistake of the command line.
    [{ status: 'failed', error: 'INPUT_INVALID' }, 1],
    [{ status: 'stopped', error: 'WORKFLOW_CHANGED' }, 1],
    [{ status: 'stopped', error: 'EFFECT_HELD' }, 3],
    [{ status: 'cancelled', error: 'RUN_CANCELLED' }, 1],
  ] as const)('a run %o is %i', (more, exit) => {
    expect(exitCodeOfRun(row(more))).toBe(exit)
  })
})

describe('colour', () => {
  const terminal = { isTTY: true }
  test('only on a terminal, and not where NO_COLOR or CI say otherwise', () => {
    expect(mayColor(terminal, {})).toBe(true)
    expect(mayColor({}, {})).toBe(false)
    expect(mayColor(terminal, { NO_COLOR: '1' })).toBe(false)
    expect(mayColor(terminal, { NO_COLOR: '' })).toBe(true)
    expect(mayColor(terminal, { CI: 'true' })).toBe(false)
    expect(mayColor(terminal, { TERM: 'dumb' })).toBe(false)
  })
})

describe('tables', () => {
  test('columns are aligned, the last is cut to the terminal', () => {
    const rows = [
      ['r_1', 'done', 'short'],
      ['r_1004', 'waits: person', 'a line that is longer than what is left'],
    ]
    expect(table(['RUN', 'STATUS', 'WHAT'], rows, styleFor(false), 50)).toBe(
      [
        'RUN     STATUS         WHAT',
        'r_1     done           short',
        'r_1004  waits: person  a line that is longer than…',
      ].join('\n'),
    )
  })

  test('paint does not move a column', () => {
    const [, line] = table(['A', 'B'], [['x', 'y']], styleFor(true), 0, (cell) => `\u001b[1m${cell}\u001b[0m`).split(
      '\n',
    )
    expect(line).toBe('\u001b[1mx\u001b[0m  \u001b[1my\u001b[0m')
  })
})

test.each([
  [0, 'now'],
  [45_000, '45 s ago'],
  [300_000, '5 min ago'],
  [7_200_000, '2 h ago'],
  [259_200_000, '3 d ago'],
  [-60_000, 'in 1 min'],
])('%i ms is %s', (ms, says) => {
  expect(ago(1_000_000_000_000 - ms, 1_000_000_000_000)).toBe(says)
})

test('commands are named as whoever reads them can type them', () => {
  const npx = { npm_command: 'exec' }
  expect(asTyped('next: convoke resume r_1, or convoke show r_1', npx)).toBe(
    'next: npx convoke resume r_1, or npx convoke show r_1',
  )
  expect(asTyped('npx convoke why r_1', npx)).toBe('npx convoke why r_1')
  expect(asTyped('a store of convoke is there', npx)).toBe('a store of convoke is there')
  expect(asTyped('next: convoke resume r_1', { npm_command: 'run-script' })).toBe('next: convoke resume r_1')
})

test('and with what was said of the store, which the next command has to be told as well', () => {
  const where = { store: '/tmp/my store', tenant: 'acme', app: 'convoke.config.ts', output: 'text' }
  expect(asTyped('next: convoke resume r_1, or npx convoke show r_1', {}, where)).toBe(
    "next: convoke resume --store '/tmp/my store' --tenant acme --app convoke.config.ts r_1, or " +
      "npx convoke show --store '/tmp/my store' --tenant acme --app convoke.config.ts r_1",
  )
  expect(asTyped('convoke approvals approve ap_1; convoke audit verify', {}, { store: "it's" })).toBe(
    String.raw`convoke approvals approve --store 'it'\''s' ap_1; convoke audit verify --store 'it'\''s'`,
  )
  expect(asTyped('convoke runs', {}, { store: 'postgres://ann@db/convoke' })).toBe(
    'convoke runs --store postgres://ann@db/convoke',
  )
  expect(asTyped('convoke runs', {}, { store: 'postgres://ann:secret@db/convoke' })).toBe('convoke runs')
  for (const help of ['convoke fork --help', 'convoke approvals approve --help'])
    expect(asTyped(help, {}, { store: 'x' })).toBe(help)
})

test('every command of the program is known by name', () => {
  const program = buildProgram(
    () => ({}) as never,
    () => undefined,
  )
  const named = (at: Command, path: string): string[] =>
    at.commands.length === 0
      ? [`${path} ${at.name()}`]
      : at.commands.flatMap((inner) => named(inner, at === program ? 'convoke' : `${path} ${at.name()}`))
  const all = named(program, '')
  expect(all.length).toBeGreaterThan(20)
  for (const name of all) expect(asTyped(name, { npm_command: 'exec' }, { store: 'x' })).toBe(`npx ${name} --store x`)
})

describe('--set STEP:/pointer=JSON', () => {
  test.each([
    ['intake:/total="1.00"', { step: 'intake', pointer: '/total', value: '1.00' }],
    ['map/key:1/read:/a/b=null', { step: 'map/key:1/read', pointer: '/a/b', value: null }],
    ['intake:={"a":"x=y"}', { step: 'intake', pointer: '', value: { a: 'x=y' } }],
  ])('%s', (text, parsed) => {
    expect(parseSet(text)).toEqual(parsed)
  })

  test.each([['intake'], ['intake=1'], [':/a=1'], ['intake:/a']])('USAGE for %s', (text) => {
    expect(() => parseSet(text)).toThrow(expect.objectContaining({ code: 'USAGE' }))
  })

  test('JSON_INVALID for a value that is none', () => {
    expect(() => parseSet('intake:/a=one')).toThrow(expect.objectContaining({ code: 'JSON_INVALID' }))
  })
})
