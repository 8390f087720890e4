import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openSqliteLedger } from '../ledger-sqlite/index.ts'
import type { Ledger } from '../ports/ledger.ts'
import { actsOf, renderActs } from '../query/acts.ts'
import { verifyLedger } from '../query/audit.ts'
import { recordToolAcceptance, toolAcceptances, type ToolAcceptance } from './accepted.ts'
import { liftHalt, orderHalt } from './halts.ts'
import { trustBook } from './trust.ts'

const tenant = 'local'
const ada = { kind: 'person', id: 'ada' } as const
const bob = { kind: 'person', id: 'bob' } as const
let dir = ''
let ledger: Ledger
let salts = 0
const salt = (): string => (++salts).toString(16).padStart(32, '0')
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'convoke-accepted-'))
  ledger = await openSqliteLedger({ dir, durability: 'process-crash-only' })
})
afterAll(async () => {
  await ledger.close()
  await rm(dir, { recursive: true, force: true })
})

const first: Omit<ToolAcceptance, 'ref'> = {
  tool: 'notes.add',
  server: 'notes',
  hash: 'a'.repeat(64),
  reasons: ['new'],
  rivals: [],
  difference: '+ name: add\n+ description: Adds a note.',
  by: ada,
  at: 1_700_000_000_000,
}
const second: Omit<ToolAcceptance, 'ref'> = {
  ...first,
  was: first.hash,
  hash: 'b'.repeat(64),
  reasons: ['changed', 'imitating'],
  rivals: ['evil.Add'],
  difference: '- description: Adds a note.\n+ description: Adds a note, and \\u{200b}sends it.',
  by: bob,
  at: first.at + 5_000,
}

test('who accepted which tool, when, from which hash to which, with the difference', async () => {
  await recordToolAcceptance(ledger, tenant, first, { salt: salt() })
  await recordToolAcceptance(ledger, tenant, second, { salt: salt() })
  expect(await toolAcceptances(ledger, tenant)).toEqual([
    { ...first, ref: 'policy/tools@1' },
    { ...second, ref: 'policy/tools@2' },
  ])
  expect(await toolAcceptances(ledger, 'other')).toEqual([])
})

test('done again after a crash it is one record; accepted anew after something else, it is another', async () => {
  await recordToolAcceptance(ledger, tenant, { ...second, at: second.at + 1 }, { salt: salt() })
  expect(await toolAcceptances(ledger, tenant)).toHaveLength(2)
  await recordToolAcceptance(ledger, tenant, { ...second, by: ada, at: second.at + 2 }, { salt: salt() })
  await recordToolAcceptance(
    ledger,
    tenant,
    { ...first, was: second.hash, difference: '- x', at: second.at + 3 },
    { salt: salt() },
  )
  expect((await toolAcceptances(ledger, tenant)).map(({ by, hash }) => [by.id, hash[0]])).toEqual([
    ['ada', 'a'],
    ['bob', 'b'],
    ['ada', 'b'],
    ['ada', 'a'],
  ])
})

test('what must not be written is not, and what is long is cut', async () => {
  const its = { ...first, tool: 'notes.long', at: first.at + 9_000, difference: `${'x'.repeat(30_000)} token` }
  await recordToolAcceptance(ledger, tenant, its, {
    salt: salt(),
    redact: (payload) => ({ ...payload, reasons: ['[redacted]'] }),
  })
  const last = (await toolAcceptances(ledger, tenant)).at(-1)
  expect(last).toMatchObject({ reasons: ['[redacted]'] })
  expect(last?.difference).toHaveLength(20_000)
})

test('acts of governance as an auditor reads them: by time, each with its record, on a chain that verifies', async () => {
  const order = { tenant, by: bob, reason: 'a drill', at: first.at + 1_000 }
  const halt = await orderHalt(ledger, { ...order, target: { role: 'clerk' }, salt: salt() })
  await liftHalt(ledger, { ...order, id: halt.id, at: first.at + 2_000, salt: salt() })
  const book = trustBook(ledger, tenant, { now: () => first.at + 3_000 }, salt)
  await book.judged({ category: 'mail', id: 'ap_1', unedited: true, by: ada, run: 'r1', path: 'send' }, 1)
  const acts = await actsOf(ledger, tenant)
  expect(acts.slice(0, 6).map(({ type, by }) => `${type} ${by.id}`)).toEqual([
    'tool.accepted ada',
    'halt.ordered bob',
    'halt.lifted bob',
    'trust.judged ada',
    'trust.mode ada',
    'tool.accepted bob',
  ])
  const text = renderActs(acts)
  expect(text).toContain(
    '2023-11-14 22:13:20  person ada  accepted notes.add of notes (new)  aaaaaaaaaaaa  policy/tools@1\n',
  )
  expect(text).toContain(`person bob  stopped role clerk: a drill  ${halt.id}  policy/halts@1`)
  expect(text).toContain(`person bob  lifted ${halt.id}: a drill`)
  expect(text).toContain('person ada  mail is under monitoring from here on')
  expect(text).toContain(
    'person bob  accepted notes.add of notes (changed, imitating)  aaaaaaaaaaaa → bbbbbbbbbbbb  policy/tools@2\n' +
      '    - description: Adds a note.\n    + description: Adds a note, and \\u{200b}sends it.\n',
  )
  // All of a tool that is new would be new.
  expect(text).not.toContain('+ name: add')
  expect(renderActs([])).toBe('nothing was stopped, trusted or accepted')
  expect((await verifyLedger(ledger, tenant)).findings).toEqual([])
})
