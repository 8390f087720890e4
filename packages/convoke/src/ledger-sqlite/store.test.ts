import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { noLabels } from '../core/labels.ts'
import type { Blob } from '../core/record.ts'
import type { Ledger } from '../ports/ledger.ts'
import { createChain } from '../testing/chain.ts'
import { openSqliteLedger } from './index.ts'

let dir = ''
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'convoke-store-'))
})
afterEach(() => {
  rmSync(dir, { recursive: true, force: true })
})

async function fill(ledger: Ledger): Promise<void> {
  await ledger.register('w1')
  const chain = createChain({ tenant: 'acme', stream: 'run/r1' })
  const started = chain.next({ type: 'run.started', payload: { workflow: 'w', version: '1', tags: ['x'] } })
  await ledger.append([{ ref: chain.ref, epoch: 0, records: [started] }])
  chain.follow(await ledger.claim(chain.ref, 'w1'))
  const request = { id: 'a1', kind: 'call', title: 't', action: { x: 'y'.repeat(70_000) }, actionHash: 'h' }
  const blobs: Blob[] = []
  const records = [
    chain.next({ type: 'approval.requested', payload: request }, blobs),
    chain.next({ type: 'step.completed', payload: null }),
    chain.next({ type: 'run.parked', payload: { kind: 'person' } }),
  ]
  await ledger.append([{ ref: chain.ref, epoch: 1, records }], { blobs })
  await ledger.post(
    { tenant: 'acme', stream: 'inbox/r1' },
    {
      id: 'd1',
      type: 'approval.decided',
      at: 7_000,
      actor: { kind: 'person', id: 'ann' },
      payload: { id: 'a1', decision: 'approved' },
    },
  )
}

describe('the store', () => {
  it('is readable by its owner only', async () => {
    const folder = join(dir, 'deep', 'er')
    const ledger = await openSqliteLedger({ dir: folder })
    await fill(ledger)
    const mode = (name: string): string => (statSync(join(folder, name)).mode & 0o777).toString(8)
    expect(mode('.')).toBe('700')
    expect(mode('workers')).toBe('700')
    for (const name of readdirSync(folder)) if (name !== 'workers') expect([name, mode(name)]).toEqual([name, '600'])
    expect(readdirSync(folder)).toContain('ledger.db-wal')
    await ledger.close()
  })

  it('of the first release is brought up to date when it is opened, and stays open to older builds', async () => {
    const ledger = await openSqliteLedger({ dir })
    await fill(ledger)
    await ledger.close()
    // What was added since is taken away again.
    const db = new DatabaseSync(join(dir, 'ledger.db'))
    const added = db
      .prepare(`SELECT type, name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' AND type IN ('trigger', 'index')`)
      .all() as { type: string; name: string }[]
    const first = ['records_place', 'runs_due', 'runs_started']
    for (const { type, name } of added) if (!first.includes(name)) db.exec(`DROP ${type} ${name}`)
    db.exec('DROP TABLE run_tags; DROP TABLE orphans')
    db.exec('ALTER TABLE streams DROP COLUMN archived; ALTER TABLE streams DROP COLUMN head')
    db.exec(`DELETE FROM meta WHERE key = 'steps'`)
    db.close()
    const again = await openSqliteLedger({ dir })
    expect((await again.runs({ tenant: 'acme', tag: 'x' })).map(({ run }) => run)).toEqual(['r1'])
    expect(await again.heads('acme')).toHaveLength(2)
    await again.close()
    const looked = new DatabaseSync(join(dir, 'ledger.db'))
    expect(looked.prepare(`SELECT value FROM meta WHERE key = 'format'`).get()).toEqual({ value: 1 })
    looked.close()
  })

  it('with something archived is closed to older builds, and to those that have it open', async () => {
    const ledger = await openSqliteLedger({ dir })
    const chain = createChain({ tenant: 'acme', stream: 'run/r1' })
    const records = ['run.started', 'run.completed'].map((type) =>
      chain.next({ type, payload: { workflow: 'w', version: '1' } }),
    )
    await ledger.append([{ ref: chain.ref, epoch: 0, records }])
    await ledger.archive?.drop('acme', [{ stream: 'run/r1', ...chain.head }], 1)
    const db = new DatabaseSync(join(dir, 'ledger.db'))
    expect(db.prepare(`SELECT value FROM meta WHERE key = 'format'`).get()).toEqual({ value: 2 })
    // An older build sees no records, and would begin the run again.
    const begin = (): void =>
      db.exec(`INSERT INTO records(stream, seq, epoch, at, shape, hash, commitment, salt, payload)
        SELECT id, 1, 0, 0, 1, x'00', x'00', x'00', 'null' FROM streams WHERE name = 'run/r1'`)
    expect(begin).toThrow('the stream is archived')
    db.close()
    await ledger.close()
  })

  it('rebuilds its projections when they are of an older version', async () => {
    const ledger = await openSqliteLedger({ dir })
    await fill(ledger)
    const questions = async (of: Ledger): Promise<unknown[]> => [
      await of.run({ tenant: 'acme', stream: 'run/r1' }),
      await of.runs({ tenant: 'acme', tag: 'x' }),
      await of.approval('acme', 'a1'),
      await of.ready({ now: 9_000, limit: 9, tenant: 'acme' }),
    ]
    const released = await ledger.head({ tenant: 'acme', stream: 'run/r1' })
    await ledger.release({ tenant: 'acme', stream: 'run/r1' }, 1)
    const before = await questions(ledger)
    expect(JSON.stringify(before)).toContain('approved')
    await ledger.close()
    const db = new DatabaseSync(join(dir, 'ledger.db'))
    db.exec(`DELETE FROM runs; DELETE FROM approvals; UPDATE meta SET value = 0 WHERE key = 'projections'`)
    db.close()
    const again = await openSqliteLedger({ dir })
    expect(await questions(again)).toEqual(before)
    expect(await again.head({ tenant: 'acme', stream: 'run/r1' })).toEqual(released)
    await again.close()
  })

  it('keeps each blob, and each shape of record, once', async () => {
    const ledger = await openSqliteLedger({ dir })
    const chain = createChain({ tenant: 'acme', stream: 'memory/m' })
    const records = Array.from({ length: 50 }, () => chain.next({ type: 'a', labels: noLabels }))
    await ledger.append([{ ref: chain.ref, epoch: 0, records }])
    await ledger.close()
    const db = new DatabaseSync(join(dir, 'ledger.db'))
    expect(db.prepare('SELECT count(*) AS n FROM shapes').get()).toEqual({ n: 1 })
    db.close()
  })

  it('calls the probe around every commit, and waits for it', async () => {
    const points: string[] = []
    const ledger = await openSqliteLedger({ dir, probe: (point) => points.push(point) })
    await ledger.tenantKey('acme')
    expect(points).toEqual(['commit.before', 'commit.after'])
    await fill(ledger)
    expect(points.length % 2).toBe(0)
    await ledger.close()
  })

  it('leaves no files of workers behind', async () => {
    const ledger = await openSqliteLedger({ dir })
    const lease = await ledger.register('a/b c')
    expect(readdirSync(join(dir, 'workers')).length).toBe(1)
    await lease.release()
    await ledger.register('other')
    await ledger.close()
    expect(readdirSync(join(dir, 'workers'))).toEqual([])
  })

  it('runs from the built package too, in its own thread', async () => {
    const built = fileURLToPath(new URL('../../dist/sqlite.js', import.meta.url))
    const module = (await import(built)) as { openSqliteLedger: typeof openSqliteLedger }
    const ledger = await module.openSqliteLedger({ dir })
    const watched = ledger.watch('acme')[Symbol.asyncIterator]()
    const first = watched.next()
    await fill(ledger)
    expect((await first).value).toMatchObject({ record: { type: 'run.started' } })
    await ledger.close()
  })
})
