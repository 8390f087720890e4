import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Ledger } from 'convoke'
import { openSqliteLedger } from 'convoke/sqlite'
import { differ } from 'convoke/testing'
import { startEmbeddedPostgres, type EmbeddedPostgres } from '../embedded.ts'
import { openPostgresLedger } from './open.ts'

// The ledgers on Postgres and SQLite against the plain one in memory, under the same seeded operations from two ledgers
// on one store each. CONVOKE_DIFF_OPS sets how many, CONVOKE_DIFF_SEED which.

const dir = mkdtempSync(join(tmpdir(), 'convoke-differ-'))
let server: EmbeddedPostgres
const opened: Ledger[] = []
const open = async (ledger: Promise<Ledger>): Promise<Ledger> => {
  opened.push(await ledger)
  return await ledger
}

beforeAll(async () => {
  server = await startEmbeddedPostgres({ fsync: false, settings: { synchronous_commit: 'off' } })
}, 60_000)
afterAll(async () => {
  await Promise.all(opened.map((ledger) => ledger.close()))
  await server.close()
  rmSync(dir, { recursive: true, force: true })
})

test('the ledgers on Postgres and on SQLite mean what the plain ledger means', async () => {
  const { url } = server
  // On a busy machine no lease may pass by itself.
  const leaseMs = 600_000
  const lite = { dir, leaseMs, durability: 'process-crash-only' } as const
  const report = await differ({
    stores: [
      {
        name: 'postgres',
        ledgers: [await open(openPostgresLedger({ url, leaseMs })), await open(openPostgresLedger({ url, leaseMs }))],
      },
      { name: 'sqlite', ledgers: [await open(openSqliteLedger(lite)), await open(openSqliteLedger(lite))] },
    ],
    operations: Number(process.env['CONVOKE_DIFF_OPS'] ?? 100_000),
    seed: Number(process.env['CONVOKE_DIFF_SEED'] ?? 1),
    concurrency: 64,
  })
  expect(report.differences).toEqual([])
  // The operations reach what they are meant to reach; otherwise agreeing would say nothing.
  const few = (counts: Readonly<Record<string, number>>, names: readonly string[]): string[] =>
    names.filter((name) => (counts[name] ?? 0) < report.operations / 20_000)
  const operations =
    'start register lapse isAlive claim release append both note post read ready blob attach look wrong'
  expect(few(report.performed, operations.split(' '))).toEqual([])
  const codes =
    'ok POSITION_STALE EPOCH_STALE LEASE_EXPIRED RUN_OWNED RUN_UNKNOWN UNIQUE_TAKEN COUNTER_EXCEEDED INBOX_ADVANCED ' +
    'BLOB_MISSING LEDGER_CORRUPT INPUT_INVALID TENANT_MISSING NAME_INVALID RECORD_UNSUPPORTED NOT_CANONICAL'
  expect(few(report.answers, codes.split(' '))).toEqual([])
  console.log(`${report.operations} operations in ${report.scripts} scripts`, report.answers)
}, 1_800_000)
