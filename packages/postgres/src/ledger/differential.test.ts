import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Ledger } from 'convoke'
import { openSqliteLedger } from 'convoke/sqlite'
import { differ, type DifferReport } from 'convoke/testing'
import { startEmbeddedPostgres, type EmbeddedPostgres } from '../embedded.ts'
import { openPostgresLedger } from './open.ts'

// The ledgers on Postgres and SQLite against the plain one in memory, under the same seeded operations from two ledgers
// on one store each. CONVOKE_DIFF_OPS sets how many, CONVOKE_DIFF_SEED which.

let server: EmbeddedPostgres

beforeAll(async () => {
  server = await startEmbeddedPostgres({ fsync: false, settings: { synchronous_commit: 'off' } })
}, 60_000)
afterAll(() => server.close())

/** Fresh stores for each part: what is compared is meaning, and a store of a hundred thousand runs only takes longer. */
const part = 5_000

async function differOnFreshStores(operations: number, seed: number): Promise<DifferReport> {
  const dir = mkdtempSync(join(tmpdir(), 'convoke-differ-'))
  const url = await server.newDatabase()
  // On a busy machine no lease may pass by itself, and nobody may have waited too long.
  const [leaseMs, busyMs] = [600_000, 600_000]
  const lite = { dir, leaseMs, busyMs, durability: 'process-crash-only' } as const
  const opened: Ledger[] = []
  const open = async (ledger: Promise<Ledger>): Promise<Ledger> => {
    opened.push(await ledger)
    return await ledger
  }
  try {
    return await differ({
      stores: [
        {
          name: 'postgres',
          ledgers: [
            await open(openPostgresLedger({ url, leaseMs, busyMs })),
            await open(openPostgresLedger({ url, leaseMs, busyMs })),
          ],
        },
        { name: 'sqlite', ledgers: [await open(openSqliteLedger(lite)), await open(openSqliteLedger(lite))] },
      ],
      operations,
      seed,
      concurrency: 64,
    })
  } finally {
    await Promise.all(opened.map((ledger) => ledger.close()))
    rmSync(dir, { recursive: true, force: true })
  }
}

function addTo(sums: Record<string, number>, counts: Readonly<Record<string, number>>): void {
  for (const [name, count] of Object.entries(counts)) sums[name] = (sums[name] ?? 0) + count
}

const wanted = Number(process.env['CONVOKE_DIFF_OPS'] ?? 100_000)

test(
  'the ledgers on Postgres and on SQLite mean what the plain ledger means',
  async () => {
    const seed = Number(process.env['CONVOKE_DIFF_SEED'] ?? 1)
    const performed: Record<string, number> = {}
    const answers: Record<string, number> = {}
    let operations = 0
    for (let round = 0; operations < wanted; round++) {
      const report = await differOnFreshStores(Math.min(part, wanted - operations), seed + round * 10_000)
      expect(report.differences).toEqual([])
      operations += report.operations
      addTo(performed, report.performed)
      addTo(answers, report.answers)
    }
    // The operations reach what they are meant to reach; otherwise agreeing would say nothing.
    const few = (counts: Readonly<Record<string, number>>, names: readonly string[]): string[] =>
      names.filter((name) => (counts[name] ?? 0) < operations / 20_000)
    const kinds =
      'start register lapse isAlive claim release append both note post read ready blob attach look wrong archive restore'
    expect(few(performed, kinds.split(' '))).toEqual([])
    const codes =
      'ok POSITION_STALE EPOCH_STALE LEASE_EXPIRED RUN_OWNED RUN_UNKNOWN UNIQUE_TAKEN COUNTER_EXCEEDED INBOX_ADVANCED ' +
      'BLOB_MISSING LEDGER_CORRUPT INPUT_INVALID TENANT_MISSING NAME_INVALID RECORD_UNSUPPORTED NOT_CANONICAL ' +
      'RUN_ARCHIVED RUN_NEEDED ARCHIVE_INVALID'
    expect(few(answers, codes.split(' '))).toEqual([])
    console.log(`${operations} operations`, Object.fromEntries(codes.split(' ').map((code) => [code, answers[code]])))
  },
  Math.max(1_800_000, wanted * 6),
)
