import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import type { App } from '../app/app.ts'
import { workflow } from '../app/define.ts'
import { convoke } from '../convoke.ts'
import { decideApproval } from '../gateway/decisions.ts'
import { endorser } from '../gateway/endorser.ts'
import { tool } from '../gateway/tool.ts'
import type { Ledger } from '../ports/ledger.ts'
import { readRun } from './records.ts'
import { reportOf } from './report.ts'
import { renderReport } from './report-text.ts'
import { renderWhy } from './why-text.ts'
import { why } from './why.ts'

const readMail = tool({
  name: 'mail.read',
  description: 'a letter',
  effect: 'read',
  inputSchema: z.object({}),
  outputSchema: z.object({ body: z.string(), total: z.string() }),
  labels: { confidentiality: ['mailbox'] },
  execute: async () => ({ body: 'pay 12.00', total: '12.00' }),
})
// A name may hold what separates it from its version.
const books = endorser({
  name: 'in our@books',
  version: '2',
  check: (value) => JSON.stringify(value).includes('12.00'),
})

const letter = workflow({ name: 'letter' }, async (run) => {
  const mail = await run.call(readMail, {})
  const figure = await run.endorse('figure', { total: mail.total }, { by: books, reason: 'held against the books' })
  const shape = await run.endorse(
    'shape',
    { total: mail.total },
    { fields: [{ at: '/total', min: 0, max: 100 }], reason: 'bounded' },
  )
  const open = await run.declassify('open', mail, { release: ['mailbox'], to: 'privacy', reason: 'asked for' })
  return run.step('use', { input: { figure, shape, open } }, () => 'done')
})
const refused = workflow({ name: 'refused' }, async (run) => {
  const mail = await run.call(readMail, {})
  return run.endorse('figure', { body: mail.body.slice(0, 3) }, { by: books, reason: 'held against the books' })
})

let dir = ''
let app: App
let ledger: Ledger
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'convoke-relabelled-'))
  app = convoke({
    store: dir,
    durability: 'process-crash-only',
    workflows: { letter, refused },
    tools: [readMail],
    onTrouble: () => undefined,
  })
  ledger = await app.ledger()
  const handle = await app.start(letter, undefined, { id: 'r1' })
  await handle.settled()
  const [asked] = await ledger.approvals({ tenant: 'local', run: 'r1', status: 'pending' })
  const by = { kind: 'person', id: 'ada' } as const
  await decideApproval(ledger, { tenant: 'local', id: asked!.id, decision: 'approved', by, at: Date.now() })
  await handle.result()
})
afterAll(async () => {
  await app.close()
  rmSync(dir, { recursive: true, force: true })
})

test('why names the person, the function with its version, or the type that vouched for a value', async () => {
  const data = await why(ledger, 'local', 'r1')
  const of = (path: string) => data.chain.find((step) => step.path === path)?.relabelled
  const ref = expect.stringMatching(/^run\/r1@\d+$/) as string
  expect(of('figure')).toEqual([
    {
      ref,
      path: 'figure',
      act: 'endorse',
      by: { kind: 'endorser', id: 'in our@books', version: '2' },
      reason: 'held against the books',
      trusted: true,
      released: [],
    },
  ])
  expect(of('shape')).toMatchObject([{ act: 'endorse', by: { kind: 'type' }, trusted: true }])
  expect(of('open')).toMatchObject([
    {
      act: 'declassify',
      by: { kind: 'person', id: 'ada' },
      trusted: false,
      released: ['mailbox'],
      reason: 'asked for',
    },
  ])
  expect(of('mail.read')).toEqual([])
  const said = renderWhy(data)
  expect(said).toContain('✓ endorsed by function in our@books@2: held against the books; trusted from here on\n')
  expect(said).toContain('✓ endorsed by its type: bounded; trusted from here on\n')
  expect(said).toContain('✓ declassified by ada: asked for; no longer mailbox\n')
})

test('asked about the act alone, it is named as well', async () => {
  expect(renderWhy(await why(ledger, 'local', 'r1', 'figure'))).toContain('endorsed by function in our@books@2')
})

test('an act that was refused changed nothing: its error says who refused, and nobody endorsed', async () => {
  const handle = await app.start(refused, undefined, { id: 'r2' })
  await expect(handle.result()).rejects.toThrow('does not vouch for the value')
  const data = await why(ledger, 'local', 'r2', 'figure')
  expect(data.chain.at(-1)).toMatchObject({ relabelled: [], error: { code: 'FLOW_DENIED' } })
  const said = renderWhy(data)
  expect(said).toContain('in our@books does not vouch for the value')
  expect(said).not.toContain('endorsed by')
})

test("an auditor's report names them too", async () => {
  const report = renderReport(reportOf(await readRun(ledger, 'local', 'r1')))
  expect(report).toMatch(/figure endorsed by function in our@books@2: held against the books; .* {2}run\/r1@\d+/)
  expect(report).toMatch(/open declassified by ada: asked for; no longer mailbox {2}run\/r1@\d+/)
  const refusal = renderReport(reportOf(await readRun(ledger, 'local', 'r2')))
  expect(refusal).toMatch(/figure by \S+ \S+: .*FLOW_DENIED/)
})
