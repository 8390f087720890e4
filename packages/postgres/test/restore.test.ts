/**
 * Back-up and restore to a point in time, as docs/deploy.md tells it: a base copy of the running server and its archived
 * log, the server lost, everything back as of a named moment. What stood in the ledger then stands there again and proves
 * itself; an effect made after that moment is forgotten by the ledger, and done again under the same key.
 */
import { execFileSync } from 'node:child_process'
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { convoke, systemClock, tool, workflow, type App } from 'convoke'
import { verifyLedger } from 'convoke/views'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { startEmbeddedPostgres, type EmbeddedPostgres } from '../src/embedded.ts'

/** Remembers each key and how often it came: the world that no database restores. */
const seen = new Map<string, number>()
let counterpart: Server
let postgres: EmbeddedPostgres
let folder = ''

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'convoke-restore-'))
  chmodSync(folder, 0o755)
  mkdirSync(join(folder, 'archive'))
  chmodSync(join(folder, 'archive'), 0o777)
  counterpart = createServer((request, response) => {
    const key = String(request.headers['idempotency-key'])
    seen.set(key, (seen.get(key) ?? 0) + 1)
    response.end('{}')
  })
  await new Promise<void>((resolve) => counterpart.listen(0, '127.0.0.1', resolve))
  postgres = await startEmbeddedPostgres({
    settings: { archive_mode: 'on', archive_command: `cp %p ${join(folder, 'archive')}/%f` },
  })
}, 120_000)

afterAll(async () => {
  await postgres?.close()
  counterpart?.close()
  rmSync(folder, { recursive: true, force: true })
})

function open(drives: boolean): App {
  const notify = tool({
    name: 'notify',
    description: 'Tells somebody.',
    inputSchema: z.object({ who: z.string() }),
    outputSchema: z.object({}),
    effect: 'keyed',
    execute: async (_input, { idempotencyKey }) => {
      const { port } = counterpart.address() as AddressInfo
      await fetch(`http://127.0.0.1:${port}/`, { method: 'POST', headers: { 'idempotency-key': idempotencyKey } })
      return {}
    },
  })
  const tell = workflow({ name: 'tell', input: z.string() }, async (run, who) => {
    await run.call(notify, { who })
    return who
  })
  return convoke({ store: postgres.url, workflows: { tell }, tools: [notify], drives })
}

async function sql<T>(act: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: postgres.url })
  client.on('error', () => undefined)
  await client.connect()
  try {
    return await act(client)
  } finally {
    await client.end()
  }
}

/** What a person does with pg_basebackup, which the embedded server does not bring: start, copy, stop, label. */
async function baseCopy(): Promise<string> {
  const copy = join(folder, 'base')
  await sql(async (client) => {
    await client.query("SELECT pg_backup_start('base', true)")
    execFileSync('cp', ['-Rp', postgres.data, copy])
    const { rows } = await client.query<{ labelfile: string; spcmapfile: string }>('SELECT * FROM pg_backup_stop()')
    writeFileSync(join(copy, 'backup_label'), rows[0]?.labelfile ?? '')
  })
  rmSync(join(copy, 'postmaster.pid'), { force: true })
  for (const name of readdirSync(join(copy, 'pg_wal'))) {
    const path = join(copy, 'pg_wal', name)
    if (statSync(path).isFile()) rmSync(path)
  }
  return copy
}

/** Everything written so far is in the archive. */
async function archived(): Promise<void> {
  const name = await sql(async (client) => {
    const { rows } = await client.query<{ name: string }>('SELECT pg_walfile_name(pg_switch_wal()) AS name')
    return rows[0]?.name ?? ''
  })
  for (let tries = 0; !existsSync(join(folder, 'archive', name)); tries++) {
    if (tries > 600) throw new Error(`${name} was not archived: ${await postgres.log()}`)
    await sleep(50)
  }
}

async function restore(copy: string, target: string): Promise<void> {
  await postgres.kill()
  const owner = statSync(copy)
  rmSync(postgres.data, { recursive: true })
  execFileSync('cp', ['-Rp', copy, postgres.data])
  appendFileSync(
    join(postgres.data, 'postgresql.auto.conf'),
    `restore_command = 'cp ${join(folder, 'archive')}/%f %p'\nrecovery_target_name = '${target}'\nrecovery_target_action = 'promote'\n`,
  )
  writeFileSync(join(postgres.data, 'recovery.signal'), '')
  if (process.getuid?.() === 0)
    for (const file of ['recovery.signal', 'backup_label', ''])
      execFileSync('chown', [`${owner.uid}:${owner.gid}`, join(postgres.data, file)])
  await postgres.restart()
  await sql(async (client) => {
    for (let tries = 0; ; tries++) {
      const { rows } = await client.query<{ recovering: boolean }>('SELECT pg_is_in_recovery() AS recovering')
      if (rows[0]?.recovering === false) return
      if (tries > 600) throw new Error(`still in recovery: ${await postgres.log()}`)
      await sleep(50)
    }
  })
}

test('a restored ledger proves itself; what came later is done again under the same key', async () => {
  const before = open(true)
  await (await before.start('tell', 'first', { id: 'first' })).result()
  const copy = await baseCopy()
  await (await before.start('tell', 'second', { id: 'second' })).result()
  // It is in the ledger at the moment that is restored, and acts only after it.
  await before.start('tell', 'third', { id: 'third', notBefore: systemClock.now() + 3_600_000 })
  await sql((client) => client.query("SELECT pg_create_restore_point('noon')"))
  await (await before.start('tell', 'fourth', { id: 'fourth' })).result()
  await archived()
  await before.close()
  expect(seen.size).toBe(3)

  await restore(copy, 'noon')

  const after = open(true)
  try {
    const rows = await after.runs()
    expect(rows.map(({ run, status }) => `${run} ${status}`).sort()).toEqual([
      'first done',
      'second done',
      'third queued',
    ])
    const report = await verifyLedger(await after.ledger(), 'local')
    expect(report.findings).toEqual([])
    // Whoever asked for it asks again, with the same id and input: the ledger knows nothing of it, the world does.
    await (await after.start('tell', 'fourth', { id: 'fourth' })).result()
    expect([...seen.values()].sort()).toEqual([1, 1, 2])
  } finally {
    await after.close()
  }
}, 120_000)
