import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, it } from 'vitest'
import { checkSqlite } from '../../src/ledger-sqlite/schema.ts'
import { openSqliteLedger } from '../../src/ledger-sqlite/index.ts'
import { createChain } from '../../src/testing/chain.ts'
import { codeOf, errorOf, run, withStore } from './support.ts'

const post = (id: string) => ({ id, type: 'signal', at: 1, actor: { kind: 'system', id: 'x' }, payload: null }) as const
const inbox = { tenant: 'acme', stream: 'inbox/a' }

/** Opens a folder that cannot be a store, and says why not. */
async function refusal(dir: string): Promise<{ code: string; next: string | undefined }> {
  const error = await errorOf(openSqliteLedger({ dir, busyMs: 300 }))
  return { code: error.code, next: error.next }
}

describe('a torn write at the end of the WAL', () => {
  it('takes with it only what was not acknowledged, or whose frames are gone', async () => {
    await withStore(async ({ dir, child, open }) => {
      const writer = child({ task: 'append', id: 'a', count: 10_000 })
      for (let i = 0; i < 40; i++) await writer.next('acked')
      writer.process.kill('SIGKILL')
      await writer.ended
      const acked = writer.lines as unknown as readonly { acked: number; wal: number }[]
      const whole = statSync(join(dir, 'ledger.db-wal')).size
      const cuts = [1, 900, 9_999, 60_000].map((bytes) => whole - bytes)
      for (const [i, cut] of cuts.entries()) {
        for (const damage of ['truncated', 'garbled']) {
          const copy = join(dir, `copy-${i}-${damage}`)
          mkdirSync(copy)
          for (const name of ['ledger.db', 'ledger.db-wal']) cpSync(join(dir, name), join(copy, name))
          const wal = join(copy, 'ledger.db-wal')
          if (damage === 'truncated') truncateSync(wal, cut)
          else writeFileSync(wal, readFileSync(wal).fill(0x5a, cut))
          const ledger = await openSqliteLedger({ dir: copy })
          const stored = await ledger.read(run('a'), { limit: 10_000 })
          const intact = acked.filter((line) => line.wal <= cut)
          expect(stored.length).toBeGreaterThanOrEqual(intact.at(-1)?.acked ?? 0)
          await ledger.post(inbox, post('m'))
          await ledger.close()
        }
      }
      const ledger = await open()
      expect((await ledger.head(run('a'))).seq).toBeGreaterThanOrEqual(acked.at(-1)!.acked)
    })
  }, 90_000)
})

describe('tampering', () => {
  /** What was done to the rows of stream 1, records 1 to 6, and the first place at which reading must stop. */
  const acts: readonly [name: string, sql: string, at: number][] = [
    ['flip a payload', `UPDATE records SET payload = replace(payload, '"n":2', '"n":9') WHERE seq = 3`, 3],
    ['change a time', 'UPDATE records SET at = at + 1 WHERE seq = 4', 4],
    ['change an epoch', 'UPDATE records SET epoch = epoch + 1 WHERE seq = 2', 2],
    ['change a path', `UPDATE records SET path = 'other' WHERE seq = 2`, 2],
    ['add a fold', `UPDATE records SET fold = 'f' WHERE seq = 2`, 2],
    ['change a cause', `UPDATE records SET causes = '["c@1"]' WHERE seq = 5`, 5],
    ['garble the causes', `UPDATE records SET causes = '["' WHERE seq = 5`, 5],
    ['change a hash', `UPDATE records SET hash = zeroblob(32) WHERE seq = 3`, 3],
    ['change a commitment', `UPDATE records SET commitment = zeroblob(32) WHERE seq = 3`, 3],
    ['change a salt', `UPDATE records SET salt = zeroblob(16) WHERE seq = 3`, 3],
    ['change a type', `UPDATE records SET shape = (SELECT shape FROM records WHERE seq = 1) WHERE seq = 3`, 3],
    ['change all actors', `UPDATE shapes SET text = replace(text, 'convoke', 'mallory')`, 1],
    [
      'swap two',
      'UPDATE records SET seq = CASE seq WHEN 3 THEN -4 WHEN 4 THEN -3 ELSE seq END; UPDATE records SET seq = abs(seq)',
      3,
    ],
    ['delete the first', 'DELETE FROM records WHERE seq = 1', 1],
    ['delete one between', 'DELETE FROM records WHERE seq = 3', 3],
    ['a payload of bytes', `UPDATE records SET payload = x'00ff' WHERE seq = 3`, 3],
    ['a number beyond', 'UPDATE records SET at = 9007199254740993 WHERE seq = 3', 3],
    ['a blob of another name', `UPDATE records SET blobs = '[7]' WHERE seq = 6`, 6],
  ]

  it.each(acts)('is found when reading: %s', async (_, sql, at) => {
    await withStore(async ({ dir, open }) => {
      const chain = createChain(run('a'))
      const records = [1, 2, 3, 4, 5, 6].map((n) =>
        chain.next({
          type: n === 1 ? 'run.started' : 'step.completed',
          path: `s${n}`,
          payload: { workflow: 'w', version: '1', n: n - 1 },
        }),
      )
      const ledger = await open()
      await ledger.append([{ ref: chain.ref, epoch: 0, records }])
      const db = new DatabaseSync(join(dir, 'ledger.db'))
      db.exec(sql)
      db.close()
      const fresh = await open()
      const ahead = async (): Promise<void> => (await fresh.readAhead?.(chain.ref))?.proved
      expect((await errorOf(ahead())).code).toBe('LEDGER_CORRUPT')
      const error = await errorOf(fresh.read(chain.ref))
      expect(error.code).toBe('LEDGER_CORRUPT')
      if (!sql.includes('9007199254740993')) expect(error.details).toMatchObject({ stream: 'run/a', seq: at })
      // What stands before it can still be read.
      if (at > 1) expect(await fresh.read(chain.ref, { limit: at - 1 })).toEqual(records.slice(0, at - 1))
    })
  })

  it('of a blob is found when it is read', async () => {
    await withStore(async ({ dir, open }) => {
      const ledger = await open()
      const bytes = Buffer.from('one')
      const { sha256 } = await import('../../src/core/hash.ts')
      await ledger.putBlobs('acme', [{ hash: sha256(bytes), bytes, mediaType: 'text/plain' }])
      const db = new DatabaseSync(join(dir, 'ledger.db'))
      db.exec(`UPDATE blobs SET bytes = x'00'`)
      db.close()
      expect(await codeOf(ledger.getBlob('acme', sha256(bytes)))).toBe('LEDGER_CORRUPT')
    })
  })

  it('with a record version that is not known is refused, not skipped', async () => {
    await withStore(async ({ dir, open }) => {
      const chain = createChain({ tenant: 'acme', stream: 'memory/m' })
      const ledger = await open()
      await ledger.append([{ ref: chain.ref, epoch: 0, records: [chain.next({ type: 'a' })] }])
      const db = new DatabaseSync(join(dir, 'ledger.db'))
      db.exec(`UPDATE shapes SET text = replace(text, '[1,', '[2,')`)
      db.close()
      expect(await codeOf((await open()).read(chain.ref))).toBe('RECORD_UNSUPPORTED')
    })
  })
})

describe('a disk without space', () => {
  function tmpfs(folder: string): boolean {
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', folder], { stdio: 'ignore' })
      return true
    } catch {
      return false
    }
  }

  it('refuses what does not fit, keeps what was acknowledged, and works again when there is space', async (context) => {
    const folder = mkdtempSync(join(tmpdir(), 'convoke-full-'))
    if (!tmpfs(folder)) {
      rmSync(folder, { recursive: true })
      context.skip('needs the right to mount a small file system')
    }
    try {
      const ballast = join(folder, 'ballast')
      const ledger = await openSqliteLedger({ dir: join(folder, 'store') })
      const chain = createChain({ tenant: 'acme', stream: 'memory/m' })
      const small = createChain({ tenant: 'acme', stream: 'memory/small' })
      let stored = 0
      let code = ''
      for (let n = 0; n < 500 && code === ''; n++) {
        const record = chain.next({ type: 'a', payload: 'x'.repeat(20_000) })
        try {
          await ledger.append([{ ref: chain.ref, epoch: 0, records: [record] }])
          stored += 1
          if (n === 3) writeFileSync(ballast, Buffer.alloc(300_000))
        } catch (error) {
          code = (error as { code: string }).code
        }
      }
      expect(code).toBe('LEDGER_FULL')
      expect((await ledger.read(chain.ref)).length).toBe(stored)
      rmSync(ballast)
      await ledger.append([{ ref: small.ref, epoch: 0, records: [small.next({ type: 'a' })] }])
      expect((await ledger.read(small.ref)).length).toBe(1)
      await ledger.close()
      const again = await openSqliteLedger({ dir: join(folder, 'store') })
      expect((await again.read(chain.ref)).length).toBe(stored)
      await again.close()
    } finally {
      execFileSync('umount', [folder])
      rmSync(folder, { recursive: true })
    }
  })
})

describe('a store that cannot be used', () => {
  it('says so: a file in place of the folder, something else in place of the database', async () => {
    await withStore(async ({ dir }) => {
      const file = join(dir, 'file')
      writeFileSync(file, 'x')
      expect((await refusal(file)).code).toBe('STORE_UNUSABLE')
      expect((await refusal(join(file, 'below'))).code).toBe('STORE_UNUSABLE')

      const garbage = join(dir, 'garbage')
      mkdirSync(garbage)
      writeFileSync(
        join(garbage, 'ledger.db'),
        'this is no database at all, but long enough to be read as one '.repeat(99),
      )
      const notOne = await refusal(garbage)
      expect(notOne.code).toBe('STORE_UNUSABLE')
      expect(notOne.next).toContain('--store')

      const foreign = join(dir, 'foreign')
      mkdirSync(foreign)
      const db = new DatabaseSync(join(foreign, 'ledger.db'))
      db.exec('CREATE TABLE t(x)')
      db.close()
      expect((await refusal(foreign)).code).toBe('STORE_UNUSABLE')

      mkdirSync(join(dir, 'folder', 'ledger.db'), { recursive: true })
      expect((await refusal(join(dir, 'folder'))).code).toBe('STORE_UNUSABLE')
    })
  })

  it('a folder that cannot be written', async (context) => {
    if (!statSync('/proc/self', { throwIfNoEntry: false })) context.skip('needs /proc')
    // Permission bits do not stop root; a file system that takes no files stops everybody.
    expect((await refusal('/proc/self/convoke')).code).toBe('STORE_UNUSABLE')
  })

  it.each(['format', 'projections'])('was written by a newer version (%s)', async (key) => {
    await withStore(async ({ dir, open }) => {
      await (await open()).close()
      const db = new DatabaseSync(join(dir, 'ledger.db'))
      db.prepare('UPDATE meta SET value = 99 WHERE key = ?').run(key)
      db.close()
      const error = await errorOf(openSqliteLedger({ dir }))
      expect(error.code).toBe('STORE_NEWER')
      expect(error.details).toMatchObject({ found: 99 })
    })
  })

  it('was damaged in the middle', async () => {
    await withStore(async ({ dir, open }) => {
      const chain = createChain({ tenant: 'acme', stream: 'memory/m' })
      const records = Array.from({ length: 200 }, () => chain.next({ type: 'a', payload: 'x'.repeat(1_000) }))
      const ledger = await open()
      await ledger.append([{ ref: chain.ref, epoch: 0, records }])
      await ledger.close()
      const file = join(dir, 'ledger.db')
      const bytes = readFileSync(file)
      bytes.fill(0xee, 8_192, 20 * 8_192)
      writeFileSync(file, bytes)
      const code = await codeOf(openSqliteLedger({ dir }).then((opened) => opened.read(chain.ref)))
      expect(code).toBe('LEDGER_CORRUPT')
    })
  })
})

describe('a call that the database itself fails', () => {
  it.each(['never', 'only'] as const)(
    'is LEDGER_IO, and the others of its group are committed (%s here)',
    async (where) => {
      await withStore(async ({ dir, open }) => {
        const ledger = await open({}, where)
        const db = new DatabaseSync(join(dir, 'ledger.db'))
        db.exec('DROP TABLE folds; DROP TABLE uniques')
        db.close()
        const chains = Array.from({ length: 12 }, (_, i) => createChain({ tenant: 'acme', stream: `memory/m${i}` }))
        await ledger.append(chains.map((chain) => ({ ref: chain.ref, epoch: 0, records: [chain.next({ type: 'a' })] })))
        const codes = await Promise.all(
          chains.map(async (chain, i) => {
            // One fails halfway through its records without a savepoint, one in its guards within one.
            const fold = { type: 'step.completed', path: 'p', payload: { fold: true } }
            const records = [chain.next({ type: 'b' }), chain.next(i === 3 ? fold : { type: 'c' })]
            const guards = i === 7 ? [{ kind: 'unique', tenant: 'acme', key: 'k', owner: 'o' } as const] : []
            const act = ledger.append([{ ref: chain.ref, epoch: 0, records }], { guards })
            return await act.then(
              () => 'ok',
              (error: { code: string }) => error.code,
            )
          }),
        )
        expect(codes).toEqual(chains.map((_, i) => (i === 3 || i === 7 ? 'LEDGER_IO' : 'ok')))
        const heads = await ledger.heads('acme')
        expect(heads.map(({ stream, seq }) => [stream, seq]).filter(([, seq]) => seq === 1)).toEqual([
          ['memory/m3', 1],
          ['memory/m7', 1],
        ])
        expect(await codeOf(ledger.guardOwner('acme', 'k'))).toBe('LEDGER_IO')
      })
    },
  )
})

describe('SQLite builds', () => {
  it.each(['3.7.0', '3.45.1', '3.51.2'])('%s is refused: its WAL-reset bug can lose committed data', (version) => {
    expect(() => checkSqlite(version)).toThrow(expect.objectContaining({ code: 'SQLITE_UNSAFE' }) as Error)
  })
  it.each(['3.51.3', '3.53.4', '4.0.0'])('%s is accepted', (version) => {
    expect(() => checkSqlite(version)).not.toThrow()
  })
})

describe('a store that another process has locked', () => {
  it('is waited for, then refused, and reading goes on meanwhile', async () => {
    await withStore(async ({ dir, open }) => {
      const ledger = await open({ busyMs: 400 })
      await ledger.post(inbox, post('m1'))
      const db = new DatabaseSync(join(dir, 'ledger.db'), { timeout: 5_000 })
      db.exec('BEGIN IMMEDIATE')
      const refused = errorOf(ledger.post(inbox, post('m2')))
      expect((await ledger.read(inbox)).length).toBe(1)
      const error = await refused
      expect(error.code).toBe('LEDGER_BUSY')
      expect(error.next).toBeDefined()
      // Opening it is a write too, and says how long it has waited.
      const second = await errorOf(open({ busyMs: 200 }))
      expect(second).toMatchObject({ code: 'LEDGER_BUSY', details: { dir } })
      const waited = Number(/ for (\d+) ms$/.exec(second.message)?.[1])
      expect(waited).toBe(second.details?.['waited'])
      expect(waited).toBeGreaterThanOrEqual(200)
      const waiting = ledger.post(inbox, post('m3'))
      db.exec('ROLLBACK')
      db.close()
      expect(await waiting).toEqual({ seq: 2, duplicate: false })
    })
  })
})
