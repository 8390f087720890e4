import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readlinkSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { isConvokeError } from '../core/errors.ts'
import { sha256 } from '../core/hash.ts'
import type { Ledger } from '../ports/ledger.ts'
import { createChain } from '../testing/chain.ts'
import type { Where } from './client.ts'
import { openHere } from './here.ts'
import { openLedger } from './index.ts'
import { lockFileOf } from './lease-locks.ts'

// The ledger in the caller's thread, and its move to its own (client.ts, whose invariants are cited by number).

vi.setConfig({ testTimeout: 60_000 })

let dir = ''
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'convoke-here-'))
})
afterEach(() => {
  rmSync(dir, { recursive: true, force: true })
})

/** Stays here until something needs the thread. */
const late = 1_000_000
const inbox = { tenant: 'acme', stream: 'inbox/a' }
const message = (id: string) =>
  ({ id, type: 'signal', at: 1, actor: { kind: 'system', id: 'x' }, payload: null }) as const
const codeOf = async (act: Promise<unknown>): Promise<string> =>
  await act.then(
    () => 'ok',
    (error: unknown) => (isConvokeError(error) ? error.code : String(error)),
  )
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Whether the operating system refuses the lock on a file to another process. */
function isLockedOutside(file: string): boolean {
  const look = `
    const db = new (require('node:sqlite').DatabaseSync)(${JSON.stringify(file)}, { readOnly: true, timeout: 0 })
    try { db.prepare('SELECT count(*) FROM sqlite_schema').get(); console.log('free') } catch (error) { console.log(error.errcode & 255) }`
  return execFileSync(process.execPath, ['-e', look], { encoding: 'utf8' }).trim() === '5'
}

/** Arguments for Node: a program with a `ledger` on the folder. */
function program(body: string, where?: Where): string[] {
  const index = fileURLToPath(new URL('./index.ts', import.meta.url))
  const open = `
    const { openLedger } = await import(${JSON.stringify(index)})
    const ledger = await openLedger({ dir: ${JSON.stringify(dir)} }, ${JSON.stringify(where)})`
  return ['--input-type=module', '-e', `${open}\n${body}`]
}

const posting = (id: string): string => `await ledger.post(${JSON.stringify(inbox)}, ${JSON.stringify(message(id))})`

/** Posts one message, in a process of its own. */
async function postOutside(id: string): Promise<void> {
  const child = spawn(process.execPath, program(`${posting(id)}; await ledger.close()`), { stdio: 'inherit' })
  expect(await new Promise((resolve) => child.on('close', resolve))).toBe(0)
}

describe('moving (invariants 1 to 4)', () => {
  it.each([1, 2, 30, 31, 199, 'never', 'only', undefined] as const)(
    'keeps the order of calls, loses none, does none twice, and groups them: at call %s',
    async (where) => {
      let commits = 0
      const probe = (point: string): void => void (commits += point === 'commit.before' ? 1 : 0)
      const ledger = await openLedger({ dir, probe }, where)
      const chain = createChain({ tenant: 'acme', stream: 'memory/m' })
      const posted: Promise<{ readonly seq: number }>[] = []
      const appended: Promise<void>[] = []
      const rounds = 15
      for (let round = 0; round < rounds; round++) {
        for (let i = 0; i < 10; i++) {
          posted.push(ledger.post(inbox, message(`m${round}-${i}`)))
          const record = chain.next({ type: 'a', payload: round * 10 + i })
          appended.push(ledger.append([{ ref: chain.ref, epoch: 0, records: [record] }]))
        }
        await turn()
      }
      await Promise.all(appended)
      const seqs = (await Promise.all(posted)).map(({ seq }) => seq)
      expect(seqs).toEqual(seqs.map((_, i) => i + 1))
      // Those of a turn share a commit; a thread may take a turn's calls in two.
      expect(commits).toBeLessThanOrEqual(3 * rounds)
      const payloads = (await ledger.read(chain.ref)).map(({ payload }) => payload)
      expect(payloads).toEqual(payloads.map((_, i) => i))
      expect(payloads.length).toBe(10 * rounds)
      await ledger.close()
    },
  )

  it('takes with it what may take long, and all that comes after it', async () => {
    const ledger = await openLedger({ dir }, late)
    const posts = [ledger.post(inbox, message('a')), ledger.post(inbox, message('b'))]
    const heads = ledger.heads('acme')
    posts.push(ledger.post(inbox, message('c')))
    expect((await Promise.all(posts)).map(({ seq }) => seq)).toEqual([1, 2, 3])
    expect((await heads).map(({ stream }) => stream)).toEqual(['inbox/a'])
    await ledger.close()
  })

  it('stays where it is while the thread cannot open the store, and says so to who needs it', async () => {
    const ledger = await openLedger({ dir, busyMs: 200 }, late)
    await ledger.post(inbox, message('a'))
    const other = new DatabaseSync(join(dir, 'ledger.db'), { timeout: 5_000 })
    other.exec('BEGIN IMMEDIATE')
    expect(await codeOf(ledger.heads('acme'))).toBe('LEDGER_BUSY')
    expect((await ledger.head(inbox)).seq).toBe(1)
    other.exec('ROLLBACK')
    other.close()
    expect(await ledger.post(inbox, message('b'))).toEqual({ seq: 2, duplicate: false })
    expect(await ledger.heads('acme')).toHaveLength(1)
    await ledger.close()
  })

  it('moves later when the thread could not open the store at first', async () => {
    const leaseMs = 4_000
    const ledger = await openLedger({ dir, busyMs: 200, leaseMs })
    const lease = await ledger.register('w1')
    const other = new DatabaseSync(join(dir, 'ledger.db'), { timeout: 5_000 })
    other.exec('BEGIN IMMEDIATE')
    // It is started after 100 ms, and waits for 200.
    await pause(700)
    expect(lease.remaining()).toBeGreaterThan(leaseMs)
    other.exec('ROLLBACK')
    other.close()
    await expect.poll(() => lease.remaining(), { timeout: 20_000 }).toBeLessThanOrEqual(leaseMs)
    expect(lease.remaining()).toBeGreaterThan(0)
    await ledger.close()
  })

  it('stays open when it hears only later, and at once, that the thread could not open the store and is gone', async () => {
    const ledger = await openLedger({ dir, busyMs: 50 }, late)
    await ledger.post(inbox, message('a'))
    const other = new DatabaseSync(join(dir, 'ledger.db'), { timeout: 5_000 })
    other.exec('BEGIN IMMEDIATE')
    const heads = codeOf(ledger.heads('acme'))
    // The program's own code keeps this thread busy meanwhile.
    for (let round = 0; round < 10; round++) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200)
    expect(await heads).toBe('LEDGER_BUSY')
    other.exec('ROLLBACK')
    other.close()
    expect(await ledger.post(inbox, message('b'))).toEqual({ seq: 2, duplicate: false })
    expect(await ledger.heads('acme')).toHaveLength(1)
    await ledger.close()
  })

  it.runIf(process.platform === 'linux')('tries no more to open what its caller could not open', async () => {
    await (await openLedger({ dir }, late)).close()
    const other = new DatabaseSync(join(dir, 'ledger.db'), { timeout: 5_000 })
    other.exec('BEGIN IMMEDIATE')
    expect(await codeOf(openLedger({ dir, busyMs: 50 }))).toBe('LEDGER_BUSY')
    other.exec('ROLLBACK')
    other.close()
    // A store that could not be opened is tried again after a second, while there is somebody for whom.
    await pause(2_000)
    const files = readdirSync('/proc/self/fd').flatMap((fd) => {
      try {
        return [readlinkSync(`/proc/self/fd/${fd}`)]
      } catch {
        return []
      }
    })
    expect(files.filter((file) => file.startsWith(dir))).toEqual([])
  })

  it('reads what is short, ahead of its proof or not, as the thread does', async () => {
    const ledger = await openLedger({ dir }, 'only')
    const chain = createChain({ tenant: 'acme', stream: 'memory/m' })
    const records = Array.from({ length: 120 }, (_, n) => chain.next({ type: 'a', payload: n }))
    await ledger.append([{ ref: chain.ref, epoch: 0, records }])
    const ahead = await ledger.readAhead?.(chain.ref)
    await ahead?.proved
    expect(ahead?.records).toEqual(await ledger.read(chain.ref))
    const thread = await openLedger({ dir }, 'never')
    expect(await thread.read(chain.ref)).toEqual(ahead?.records)
    await Promise.all([ledger.close(), thread.close()])
  })
})

describe('a worker that is registered here (invariant 6)', () => {
  it('lives on while this thread is blocked for longer than its lease, right after registering and later', async () => {
    const leaseMs = 4_000
    const ledger = await openLedger({ dir, leaseMs })
    const chain = createChain({ tenant: 'acme', stream: 'run/r' })
    const started = chain.next({ type: 'run.started', payload: { workflow: 'w', version: '1' } })
    const begun = ledger.append([{ ref: chain.ref, epoch: 0, records: [started] }])
    const lease = await ledger.register('w1')
    const block = (): void => {
      const until = performance.now() + 1.5 * leaseMs
      while (performance.now() < until);
    }
    block()
    expect(lease.remaining()).toBeGreaterThan(leaseMs)
    await begun
    const claim = await ledger.claim(chain.ref, 'w1')
    chain.follow(claim)
    await ledger.append([{ ref: chain.ref, epoch: claim.epoch, records: [chain.next({ type: 'a' })] }])
    const file = lockFileOf(dir, 'w1')
    // By now the ledger is in its thread; the lock is where it was taken.
    await ledger.heads('acme')
    expect(isLockedOutside(file)).toBe(true)
    expect(lease.remaining()).toBeLessThanOrEqual(leaseMs)
    block()
    expect(lease.remaining()).toBeGreaterThan(0)
    await lease.release()
    expect([existsSync(file), lease.remaining()]).toEqual([false, 0])
    await ledger.close()
  })

  it('keeps its lock through the move, and through what other ledgers of this process do', async () => {
    const ledger = await openLedger({ dir }, late)
    await ledger.register('w1')
    const other = await openLedger({ dir }, 'only')
    await other.post(inbox, message('a'))
    expect(await other.isAlive('w1')).toBe(true)
    await other.close()
    expect(isLockedOutside(lockFileOf(dir, 'w1'))).toBe(true)
    await ledger.heads('acme')
    expect(isLockedOutside(lockFileOf(dir, 'w1'))).toBe(true)
    const another = await openLedger({ dir }, 'never')
    expect(await another.isAlive('w1')).toBe(true)
    await another.close()
    await ledger.close()
    expect(readdirSync(join(dir, 'workers'))).toEqual([])
  })

  it.each(['only', late, 'never'] as const)(
    'is dead when others have declared it so, wherever that is found (%s)',
    async (where) => {
      const ledger = await openLedger({ dir, leaseMs: 4_000 }, where)
      const chain = createChain({ tenant: 'acme', stream: 'run/r' })
      const started = chain.next({ type: 'run.started', payload: { workflow: 'w', version: '1' } })
      await ledger.append([{ ref: chain.ref, epoch: 0, records: [started] }])
      const lease = await ledger.register('w1')
      const claim = await ledger.claim(chain.ref, 'w1')
      chain.follow(claim)
      const other = new DatabaseSync(join(dir, 'ledger.db'), { timeout: 5_000 })
      other.exec(`DELETE FROM workers`)
      other.close()
      // Found by the next heartbeat.
      await expect.poll(() => lease.remaining(), { timeout: 20_000 }).toBe(0)
      await ledger.run(chain.ref)
      const append = ledger.append([{ ref: chain.ref, epoch: claim.epoch, records: [chain.next({ type: 'a' })] }])
      const claimed = ledger.claim(chain.ref, 'w1')
      expect([await codeOf(append), await codeOf(claimed)]).toEqual(['LEASE_EXPIRED', 'LEASE_EXPIRED'])
      await lease.release()
      await ledger.close()
    },
  )
})

describe('closing', () => {
  const states: readonly (readonly [string, Where, (ledger: Ledger) => Promise<unknown>])[] = [
    ['here', late, async () => undefined],
    ['here, with calls under way', late, async (ledger) => ledger.post(inbox, message('x')).catch(() => undefined)],
    ['here, with a worker', undefined, async (ledger) => await ledger.register('w1')],
    // It is started after 100 ms, and takes 45 to be up.
    ['while the thread starts', undefined, async (ledger) => (await ledger.register('w1'), await pause(110))],
    ['while moving', late, async (ledger) => void ledger.heads('acme').catch(() => undefined)],
    ['moved', late, async (ledger) => await ledger.heads('acme')],
    ['in the thread from the start', 'never', async (ledger) => await ledger.register('w1')],
  ]
  it.each(states)('%s: answers what was asked, gives up leases, leaves no WAL', async (_, where, reach) => {
    const ledger = await openLedger({ dir }, where)
    await reach(ledger)
    const asked = [ledger.post(inbox, message('a')), ledger.post(inbox, message('b'))]
    const closing = [ledger.close(), ledger.close()]
    expect(await codeOf(ledger.head(inbox))).toBe('LEDGER_CLOSED')
    expect((await Promise.all(asked)).every(({ duplicate }) => !duplicate)).toBe(true)
    await Promise.all(closing)
    await ledger.close()
    expect(await codeOf(ledger.post(inbox, message('c')))).toBe('LEDGER_CLOSED')
    expect(readdirSync(join(dir, 'workers'))).toEqual([])
    expect(readdirSync(dir)).not.toContain('ledger.db-wal')
    const again = await openLedger({ dir })
    expect((await again.read(inbox)).length).toBeGreaterThanOrEqual(2)
    await again.close()
  })

  it('does not wait for whoever holds the store that the thread is opening', async () => {
    const ledger = await openLedger({ dir, busyMs: 600_000 })
    await ledger.post(inbox, message('a'))
    const other = new DatabaseSync(join(dir, 'ledger.db'), { timeout: 5_000 })
    other.exec('BEGIN IMMEDIATE')
    await pause(500)
    await ledger.close()
    expect(await codeOf(ledger.head(inbox))).toBe('LEDGER_CLOSED')
    expect(other.isTransaction).toBe(true)
    other.exec('ROLLBACK')
    other.close()
  })

  it('in quick succession, whatever the thread is at, leaves a store that works', async () => {
    for (let round = 0; round < 12; round++) {
      const ledger = await openLedger({ dir })
      const lease = await ledger.register(`w${round}`)
      expect(await ledger.post(inbox, message(`m${round}`))).toEqual({ seq: round + 1, duplicate: false })
      if (round % 3 > 0) await pause(95 + round * 8)
      await ledger.close()
      expect(lease.remaining()).toBe(0)
    }
    expect(readdirSync(join(dir, 'workers'))).toEqual([])
  })
})

describe('opening here', () => {
  const options = (): Parameters<typeof openHere>[0] => ({ dir, durability: 'full', leaseMs: 10_000, busyMs: 10_000 })
  const caller = { send: () => {}, probe: undefined, registered: () => {}, broken: () => {} }

  async function opens(): Promise<boolean> {
    const here = openHere(options(), caller)
    await here?.close()
    return here !== undefined
  }

  async function change(sql: string): Promise<void> {
    await (await openLedger({ dir }, 'never')).close()
    const db = new DatabaseSync(join(dir, 'ledger.db'))
    db.exec(sql)
    db.close()
  }

  it('makes a store where there is none, and opens one that is up to date', async () => {
    expect([await opens(), await opens()]).toEqual([true, true])
  })

  it.each([
    ['needs an upgrade', `UPDATE meta SET value = 1 WHERE key = 'steps'; DROP TABLE orphans`],
    ['needs its lists written anew', `UPDATE meta SET value = 0 WHERE key = 'projections'`],
    ['is of a newer version', `UPDATE meta SET value = 99 WHERE key = 'format'`],
    ['is damaged', `DROP TABLE records`],
  ])('is left to the thread for a store that %s', async (_, sql) => {
    await change(sql)
    expect(await opens()).toBe(false)
  })

  it('is left to the thread for a store that somebody writes to', async () => {
    await change('')
    const db = new DatabaseSync(join(dir, 'ledger.db'))
    db.exec('BEGIN IMMEDIATE')
    expect(await opens()).toBe(false)
    const waits = openLedger({ dir })
    setTimeout(() => db.exec('ROLLBACK'), 100)
    const ledger = await waits
    expect(await ledger.post(inbox, message('a'))).toEqual({ seq: 1, duplicate: false })
    await ledger.close()
    db.close()
  })

  it('is left to the thread for a large WAL', async () => {
    const writer = await openLedger({ dir, durability: 'process-crash-only' }, 'never')
    const reader = new DatabaseSync(join(dir, 'ledger.db'))
    // Holds checkpoints up.
    reader.exec('BEGIN; SELECT count(*) FROM records')
    const bytes = Buffer.alloc(5 << 20, 7)
    await writer.putBlobs('acme', [{ hash: sha256(bytes), bytes, mediaType: 'x/y' }])
    expect(statSync(join(dir, 'ledger.db-wal')).size).toBeGreaterThan(4 << 20)
    expect(await opens()).toBe(false)
    reader.exec('COMMIT')
    reader.close()
    await writer.close()
    expect(await opens()).toBe(true)
  })

  it('is left to the thread, which says what is wrong, where no store can be', async () => {
    rmSync(dir, { recursive: true })
    writeFileSync(dir, '')
    expect(await opens()).toBe(false)
    expect(await codeOf(openLedger({ dir }))).toBe('STORE_UNUSABLE')
  })
})

describe('changes', () => {
  it('of another process are heard before the move and after it', async () => {
    const ledger = await openLedger({ dir }, late)
    let heard = 0
    ledger.onChange(() => void heard++)
    await ledger.head(inbox)
    await postOutside('a')
    await expect.poll(() => heard, { timeout: 20_000 }).toBeGreaterThan(0)
    await ledger.heads('acme')
    // What was committed here before the move is news to the thread, once.
    await new Promise((resolve) => setTimeout(resolve, 1_500))
    heard = 0
    await postOutside('b')
    await expect.poll(() => heard, { timeout: 20_000 }).toBeGreaterThan(0)
    await ledger.close()
  })

  it('that come while this thread is blocked and the ledger moves are heard', async () => {
    const ledger = await openLedger({ dir })
    let heard = 0
    ledger.onChange(() => void heard++)
    await ledger.register('w1')
    heard = 0
    // Blocks this thread until the other process has ended; the thread is up by then, and nobody has moved.
    execFileSync(process.execPath, program(`${posting('a')}; await ledger.close()`))
    await expect.poll(() => heard, { timeout: 20_000 }).toBeGreaterThan(0)
    expect((await ledger.head(inbox)).seq).toBe(1)
    await ledger.close()
  })

  it('of this ledger are told wherever they are made', async () => {
    for (const where of ['only', 'never', 5] as const) {
      const ledger = await openLedger({ dir }, where)
      const heard: unknown[] = []
      ledger.onChange((changed) => void heard.push(changed))
      for (let i = 0; i < 8; i++) await ledger.post(inbox, message(`${where}-${i}`))
      await expect.poll(() => heard.filter((one) => JSON.stringify(one) === JSON.stringify([inbox])).length).toBe(8)
      await ledger.close()
    }
  })
})

describe('two ledgers on one folder in one process', () => {
  it.each([
    ['only', 'only'],
    ['only', 'never'],
    [late, late],
    [undefined, undefined],
  ] as const)('get through beside each other, and see what the other wrote (%s, %s)', async (one, two) => {
    const ledgers = [await openLedger({ dir }, one), await openLedger({ dir }, two)]
    const posted = await Promise.all(
      Array.from({ length: 60 }, async (_, i) => await ledgers[i % 2]!.post(inbox, message(`m${i}`))),
    )
    expect(posted.map(({ seq }) => seq).toSorted((a, b) => a - b)).toEqual(posted.map((_, i) => i + 1))
    for (const ledger of ledgers) expect((await ledger.head(inbox)).seq).toBe(60)
    await ledgers[0]!.close()
    expect(await ledgers[1]!.post(inbox, message('last'))).toEqual({ seq: 61, duplicate: false })
    await ledgers[1]!.close()
  })
})

describe('a process with nothing pending (invariant 5)', () => {
  it.each(['never', 'only', 2, late, undefined] as const)('ends by itself: %s', async (where) => {
    const body = `ledger.onChange(() => {}); await ledger.register('w1'); ${posting('a')}; console.log('posted')`
    const said = execFileSync(process.execPath, program(body, where), { encoding: 'utf8' })
    expect(said.trim()).toBe('posted')
    const ledger = await openLedger({ dir })
    expect(await ledger.isAlive('w1')).toBe(false)
    expect((await ledger.head(inbox)).seq).toBe(1)
    await ledger.close()
  })

  it('stays while somebody follows the records', async () => {
    const body = `for await (const { record } of ledger.watch('acme')) { console.log(record.stream); break }`
    const child = spawn(process.execPath, program(body), { stdio: ['ignore', 'pipe', 'inherit'] })
    let out = ''
    child.stdout.on('data', (bytes: Buffer) => (out += bytes.toString()))
    const ended = new Promise((resolve) => child.on('close', resolve))
    await new Promise((resolve) => setTimeout(resolve, 1_500))
    expect(child.exitCode).toBe(null)
    const ledger = await openLedger({ dir })
    await ledger.post(inbox, message('a'))
    expect([await ended, out.trim()]).toEqual([0, 'inbox/a'])
    await ledger.close()
  })
})
