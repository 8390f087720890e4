import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { workflow } from '../../src/app/define.ts'
import { runStream } from '../../src/core/projections.ts'
import { faultOf, emptyHead, type Head, type LedgerRecord } from '../../src/core/record.ts'
import { convoke } from '../../src/convoke.ts'
import type { ConvokeError } from '../../src/core/errors.ts'
import { openHistory, recordHistory, replayHistory } from '../../src/testing.ts'
import { rooms, workflows } from './code.ts'

// Histories that released versions wrote. They must be read, proved and replayed for ever.

const files = globSync('*/*.json', { cwd: import.meta.dirname }).toSorted()
const textOf = (file: string): string => readFileSync(join(import.meta.dirname, file), 'utf8')
const options = { workflows, ...rooms }

interface Fixture {
  readonly tenant: string
  readonly run: string
  readonly streams: Record<string, LedgerRecord[]>
}

test('each release has its histories', () => {
  expect(files).toEqual(
    expect.arrayContaining(
      ['asking', 'cancelled', 'counted', 'counted~3', 'durable', 'failing', 'fork', 'parked'].map(
        (n) => `0.1.0/${n}.json`,
      ),
    ),
  )
})

test.each(files)('R8: %s is proved record by record and replayed by the code of today', async (file) => {
  const text = textOf(file)
  const fixture = JSON.parse(text) as Fixture
  for (const records of Object.values(fixture.streams)) {
    let head: Head = emptyHead
    for (const record of records) {
      expect(faultOf(record, head)).toBe(undefined)
      head = record
    }
  }
  const found = await replayHistory(text, options)
  expect(found).toMatchObject({ agrees: true, ended: !file.endsWith('parked.json') })
  const ledger = await openHistory(text)
  // An inbox is the ledger's own to salt; everything else is the same again.
  const again = JSON.parse(await recordHistory(ledger, fixture.tenant, fixture.run)) as Fixture
  const runs = (streams: Fixture['streams']): unknown[] =>
    Object.entries(streams).filter(([stream]) => stream.startsWith('run/'))
  expect(JSON.stringify(runs(again.streams))).toBe(JSON.stringify(runs(fixture.streams)))
})

test.each(files.filter((file) => file.includes('durable.json')))(
  '%s: a run that an older version left anywhere goes on to the same end',
  async (file) => {
    const text = textOf(file)
    const fixture = JSON.parse(text) as Fixture
    const records = fixture.streams[runStream(fixture.run)]!
    const { value } = records.at(-1)!.payload as { value: Record<string, unknown> }
    for (let cut = 3; cut < records.length; cut += 3) {
      const ledger = await openHistory(text, { records: cut })
      const app = convoke({ store: async () => ledger, ...options })
      await app.work()
      const result = (await (await app.run(fixture.run)).result()) as Record<string, unknown>
      // The timer and the child are not of this ledger: what comes of them is new, all else is as it was. A timer that was
      // set when the history was recorded is over by now, and may win a race that nobody has won in these records.
      const isWon = records.slice(0, cut).some((record) => record.type === 'race.won')
      const winner = isWon ? value['winner'] : (expect.stringMatching(/^(fast|slow)$/) as unknown)
      expect({ ...result, late: null }).toEqual({ ...value, winner, late: null })
      await app.close()
    }
  },
)

test('REPLAY_DIVERGED: code that no longer fits a history, or ends otherwise, is told with the difference', async () => {
  const text = textOf('0.1.0/counted~3.json')
  const renamed = workflow({ name: 'history-child' }, async (run, input) => run.step('tally', { input }, () => 1))
  const other = workflow(
    { name: 'history-child' },
    async (run) => (await run.step('count', { input: 3 }, () => 3), 'else'),
  )
  const more = workflow({ name: 'history-child' }, async (run) => {
    await run.step('count', { input: 3 }, () => 3)
    return run.step('and then', () => 1)
  })
  for (const [code, message, asks] of [
    [renamed, /record 3 is step count, but the workflow asks for tally/, ['tally']],
    [other, /ended with run.completed .*counted to 3.*, but the code now run.completed .*else/, []],
    [more, /ended with run.completed .* but the code now goes on/, ['and then']],
  ] as const) {
    const found = await replayHistory(text, { workflows: { code } })
    expect([found.agrees, found.error?.code, found.asks]).toEqual([false, 'REPLAY_DIVERGED', asks])
    expect(found.error?.message).toMatch(message)
  }
})

test('a dry replay starts nothing and writes nothing', async () => {
  let ran = 0
  const counting = workflow({ name: 'history-durable' }, async (run) => {
    await run.step('not recorded', () => ++ran)
  })
  const text = textOf('0.1.0/parked.json')
  const found = await replayHistory(text, { workflows: { counting } })
  expect([found.agrees, ran]).toEqual([false, 0])
})

test('JSON_INVALID and RECORD_UNSUPPORTED: what is no history, or one of a later version, is refused', async () => {
  const codeOf = (promise: Promise<unknown>): Promise<unknown> =>
    promise.catch((e: unknown) => (e as ConvokeError).code)
  expect(await codeOf(replayHistory('{"a":1}', options))).toBe('JSON_INVALID')
  expect(await codeOf(replayHistory('{"format":"convoke-history","v":2}', options))).toBe('RECORD_UNSUPPORTED')
})
