import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { runStream } from '../../src/core/projections.ts'
import { openSqliteLedger } from '../../src/ledger-sqlite/index.ts'
import { crashEverywhere } from '../../src/testing/crash.ts'
import { sources } from '../durable/outside.ts'

interface Seen {
  readonly keys: number
  readonly texts: readonly string[]
}

test('R4, R10: killed anywhere, a call that a judge changed is made as it was changed, and its held answer comes once', async () => {
  const report = await crashEverywhere({
    program: join(import.meta.dirname, 'guarded-child.ts'),
    execArgv: sources,
    args: (dir) => [dir],
    counterpart: async (dir): Promise<Seen> => {
      const book = join(dir, 'book')
      const lines = existsSync(book) ? readFileSync(book, 'utf8').trim().split('\n') : []
      const ledger = await openSqliteLedger({ dir: join(dir, 'store') })
      const records = await ledger.read({ tenant: 'local', stream: runStream('r') })
      await ledger.close()
      expect(records.filter((r) => r.type === 'answer.held')).toHaveLength(1)
      expect(records.filter((r) => r.type === 'approval.decided')).toHaveLength(1)
      expect(records.filter((r) => r.type === 'step.completed')).toHaveLength(1)
      return {
        keys: new Set(lines.map((line) => line.split(' ')[0])).size,
        texts: [...new Set(lines.map((line) => line.slice(line.indexOf(' ') + 1)))],
      }
    },
    occurrences: 'ends',
    concurrency: 2,
    timeoutMs: 120_000,
  })
  expect(report.failures).toEqual([])
  expect(report.killed).toBeGreaterThan(5)
}, 900_000)
