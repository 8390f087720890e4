import { basename, join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { runStream } from '../../src/core/projections.ts'
import { openSqliteLedger } from '../../src/ledger-sqlite/index.ts'
import { crashEverywhere } from '../../src/testing/crash.ts'
import { sources, startOutside, type Outside } from '../durable/outside.ts'

// The program (test/durable/program.ts) has steps, branches, keyed and idempotent tools, an attempt that is rolled back,
// a signal, a timer and a child. It is killed at its named points and counted at a counterpart in another process.

const long = process.env['CONVOKE_TEST_LONG'] === '1'
let outside: Outside
beforeAll(async () => {
  outside = await startOutside()
})
afterAll(() => outside.close())

/** Bodies whose end was on disk when the process died, and how often they had run by then. */
const finished = new Map<string, Map<string, number>>()

async function remember(dir: string): Promise<void> {
  const name = basename(dir)
  const known = finished.get(name) ?? new Map<string, number>()
  finished.set(name, known)
  const { ran } = await outside.audit(name)
  const ledger = await openSqliteLedger({ dir: join(dir, 'store') })
  const [child] = await ledger.runs({ tenant: 'local', workflow: 'child' })
  for (const run of ['m', ...(child === undefined ? [] : [child.run])])
    for (const record of await ledger.read({ tenant: 'local', stream: runStream(run) })) {
      if (record.type !== 'step.completed' && record.type !== 'step.failed') continue
      const path = run === 'm' ? (record.path ?? '') : `${run}/${record.path ?? ''}`
      const times = ran[path]
      if (times !== undefined) known.set(path, times)
    }
  await ledger.close()
}

test(
  'R1 R2 R4 R5: killed at every named point, the program ends the same, every effect once, no finished step again',
  async () => {
    const report = await crashEverywhere({
      program: join(import.meta.dirname, '../durable/program.ts'),
      execArgv: sources,
      args: (dir) => [dir, outside.url(basename(dir))],
      onKilled: remember,
      counterpart: async (dir) => {
        const { effects, ran } = await outside.audit(basename(dir))
        for (const [path, times] of finished.get(basename(dir)) ?? [])
          expect(`${path} ran ${String(ran[path])} times`).toBe(`${path} ran ${times} times`)
        return effects
      },
      occurrences: long ? 'all' : 'ends',
      every: long ? 1 : 2,
      concurrency: 2,
    })
    process.stdout.write(
      `crash matrix: ${report.points.length} points, ${report.cases} cases, ${report.killed} killed, ${report.runs} runs\n`,
    )
    expect(report.failures).toEqual([])
    // A later occurrence may not come in a run whose appends fall together otherwise.
    expect(report.killed).toBeGreaterThan(report.cases * 0.7)
    for (const point of [
      'append.before:',
      'append.after:',
      'commit.before',
      'commit.after',
      'tool.before:',
      'tool.after:',
    ])
      expect(report.points.some((name) => name.startsWith(point))).toBe(true)
  },
  long ? 1_800_000 : 240_000,
)
