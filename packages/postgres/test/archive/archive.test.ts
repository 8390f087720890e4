/**
 * Runs of an app are archived and brought back, on both stores; the process that does it is killed wherever it can be,
 * and so is the server. A run is then either as it was, or its file is whole; and no effect becomes possible again.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  cpSync,
  createReadStream,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { z } from 'zod'
import {
  archiveFolder,
  archiveRuns,
  convoke,
  copyStore,
  restoreRuns,
  tool,
  workflow,
  type App,
  type Ledger,
} from 'convoke'
import { openSqliteLedger } from 'convoke/sqlite'
import { exportCheckpoint, newSigningKey, verifyLedger } from 'convoke/views'
import { startEmbeddedPostgres, type EmbeddedPostgres } from '../../src/embedded.ts'
import { openPostgresLedger } from '../../src/index.ts'

vi.setConfig({ testTimeout: 180_000, hookTimeout: 60_000 })

const tenant = 'local'
const done: string[] = []
const pay = tool({
  name: 'pay',
  description: 'pays once',
  effect: 'keyed',
  inputSchema: z.object({ number: z.string() }),
  outputSchema: z.object({ ok: z.boolean() }),
  execute: ({ number }) => {
    done.push(number)
    return Promise.resolve({ ok: true })
  },
})
const part = workflow({ name: 'part', input: z.string() }, async (run, text) => {
  const long = await run.step('long', () => `${text} `.repeat(40_000))
  return long.length
})
const invoice = workflow({ name: 'invoice', input: z.string() }, async (run, number) => {
  await run.call(pay, { number }, { businessKey: number })
  const child = await run.child(part, number)
  return `${number} ${String(child)}`
})
const never = workflow({ name: 'never' }, (run) => run.sleep(1e12))

let server: EmbeddedPostgres
let dir: string
const opened: Ledger[] = []

beforeAll(async () => {
  server = await startEmbeddedPostgres({ settings: { recovery_init_sync_method: 'syncfs' } })
})
afterAll(() => server.close())
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'convoke-archive-'))
  done.length = 0
})
afterEach(async () => {
  await Promise.all(opened.splice(0).map((ledger) => ledger.close()))
  rmSync(dir, { recursive: true, force: true })
})

async function openAt(store: string): Promise<Ledger> {
  const ledger = store.includes('://')
    ? await openPostgresLedger({ url: store, busyMs: 60_000 })
    : await openSqliteLedger({ dir: store })
  opened.push(ledger)
  return ledger
}

async function withApp<T>(ledger: Ledger, use: (app: App) => Promise<T>): Promise<T> {
  const app = convoke({
    store: () => Promise.resolve({ ...ledger, close: () => Promise.resolve() }),
    workflows: { invoice, part, never },
    tools: [pay],
  })
  try {
    return await use(app)
  } finally {
    await app.close()
  }
}

const runs = ['A', 'B', 'C']

async function fill(ledger: Ledger): Promise<void> {
  await withApp(ledger, async (app) => {
    for (const number of runs) {
      const handle = await app.start(invoice, number, { id: number, tags: ['t'] })
      expect(await handle.result()).toBe(`${number} 80000`)
    }
    await (await app.start(never, null, { id: 'open' })).settled()
  })
}

/** All records of a tenant and what the lists say; times are part of it. */
async function all(ledger: Ledger): Promise<Map<string, unknown>> {
  const found = new Map<string, unknown>()
  for (const { stream, seq, hash } of await ledger.heads(tenant))
    found.set(stream, { seq, hash, records: await ledger.read({ tenant, stream }) })
  for (const row of await ledger.runs({ tenant })) found.set(row.run, row)
  for (const row of await ledger.approvals({ tenant })) found.set(row.id, row)
  return found
}

const files = (to: string): string[] =>
  existsSync(to) ? readdirSync(to).filter((name) => name.endsWith('.jsonl')) : []
const options = { tenant, before: Number.MAX_SAFE_INTEGER, at: 7, quietMs: 0 }

async function restoreAll(ledger: Ledger, to: string): Promise<void> {
  for (const name of files(to)) await restoreRuns(ledger, createReadStream(join(to, name)))
}

describe.each(['sqlite', 'postgres'])('on %s', (kind) => {
  const newStore = async (name: string): Promise<string> =>
    kind === 'sqlite' ? join(dir, name) : await server.newDatabase()

  test('what is archived comes back as it was; checkpoints hold meanwhile, and nothing can be done twice', async () => {
    const ledger = await openAt(await newStore('store'))
    await fill(ledger)
    const before = await all(ledger)
    const key = newSigningKey()
    const checkpoint = await exportCheckpoint(ledger, tenant, key, 1)
    const to = join(dir, 'out')
    const dry = await archiveRuns(ledger, archiveFolder(to), { ...options, dryRun: true })
    expect(dry.files.map(({ runs: list }) => list.length)).toEqual([2, 2, 2])
    expect(files(to)).toEqual([])
    const report = await archiveRuns(ledger, archiveFolder(to), options)
    expect(report).toMatchObject({ left: [], swept: { blobs: 3 } })
    expect(files(to)).toHaveLength(3)
    expect(await archiveRuns(ledger, archiveFolder(to), options)).toMatchObject({ files: [], left: [] })
    // Its row stays, chains and signed checkpoints hold.
    expect(
      (await ledger.runs({ tenant, tag: 't' })).map(({ run, status, archived }) => [run, status, archived]),
    ).toEqual(['C', 'B', 'A'].map((run) => [run, 'done', 7]))
    const audit = await verifyLedger(ledger, tenant, { against: checkpoint })
    expect(audit).toMatchObject({ findings: [], archived: 9 })
    await withApp(ledger, async (app) => {
      await expect(app.start(invoice, 'A', { id: 'A' })).rejects.toMatchObject({ code: 'RUN_ARCHIVED' })
      const again = await (await app.start(invoice, 'A', { id: 'another' })).settled()
      expect(again.status).not.toBe('done')
    })
    expect(done).toEqual(runs)
    await restoreAll(ledger, to)
    const after = await all(ledger)
    for (const [name, value] of before) expect([name, after.get(name)]).toEqual([name, value])
    expect(await verifyLedger(ledger, tenant, { against: checkpoint })).toMatchObject({ findings: [], archived: 0 })
    await withApp(ledger, async (app) => expect(await (await app.run('A')).result()).toBe('A 80000'))
  })

  test('a store with archived runs is copied with their marks, and they are restored into the copy', async () => {
    const ledger = await openAt(await newStore('store'))
    await fill(ledger)
    const before = await all(ledger)
    const to = join(dir, 'out')
    await archiveRuns(ledger, archiveFolder(to), { ...options, limit: 1 })
    const other = kind === 'sqlite' ? await server.newDatabase() : join(dir, 'copy')
    const copy = await openAt(other)
    await copyStore(ledger, copy)
    expect(await copy.heads(tenant)).toEqual(await ledger.heads(tenant))
    expect(await copy.runs({ tenant })).toEqual(await ledger.runs({ tenant }))
    await expect(copy.read({ tenant, stream: 'run/A' })).rejects.toMatchObject({ code: 'RUN_ARCHIVED' })
    await restoreAll(copy, to)
    const after = await all(copy)
    for (const [name, value] of before) expect([name, after.get(name)]).toEqual([name, value])
  })

  test('ARCHIVE_INVALID: a file that was changed or cut off is refused', async () => {
    const ledger = await openAt(await newStore('store'))
    await fill(ledger)
    const to = join(dir, 'out')
    await archiveRuns(ledger, archiveFolder(to), { ...options, limit: 1 })
    const [name = ''] = files(to)
    const text = readFileSync(join(to, name), 'utf8')
    const lines = text.split('\n')
    const wrong = [
      text.slice(0, -200),
      lines.toSpliced(3, 1).join('\n'),
      text.replace('"at":7', '"at":8'),
      lines.slice(1).join('\n'),
      'nothing',
      '',
    ]
    for (const [i, one] of wrong.entries()) {
      writeFileSync(join(dir, `wrong-${i}`), one)
      const restored = restoreRuns(ledger, createReadStream(join(dir, `wrong-${i}`)))
      expect([i, await restored.catch((error: { code: string }) => error.code)]).toEqual([i, 'ARCHIVE_INVALID'])
    }
    await restoreAll(ledger, to)
    expect((await ledger.read({ tenant, stream: 'run/A' })).length).toBeGreaterThan(3)
  })

  async function child(order: object): Promise<string | number | null> {
    const program = join(import.meta.dirname, 'child.ts')
    const args = ['--conditions=convoke-source', program]
    const { NODE_OPTIONS: _, ...env } = process.env
    const ended = spawn(process.execPath, [...args, JSON.stringify(order)], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env,
    })
    let errors = ''
    ended.stderr.on('data', (bytes: Buffer) => (errors += bytes.toString()))
    const [code, signal] = (await once(ended, 'close')) as [number | null, string | null]
    if (signal === null && code !== 0) throw new Error(errors)
    return signal ?? code
  }

  /** Every run is as it was, or archived; none is in between. */
  async function check(store: string, to: string, before: ReadonlyMap<string, unknown>): Promise<void> {
    const ledger = await openAt(store)
    for (const row of await ledger.runs({ tenant })) {
      const streams = [`run/${row.run}`, `inbox/${row.run}`].filter((stream) => before.has(stream))
      for (const stream of streams) {
        const ref = { tenant, stream }
        const head = await ledger.head(ref)
        expect(head).toEqual({ seq: head.seq, hash: (before.get(stream) as { hash: string }).hash })
        if (row.archived === undefined) expect({ ...head, records: await ledger.read(ref) }).toEqual(before.get(stream))
        else await expect(ledger.read(ref)).rejects.toMatchObject({ code: 'RUN_ARCHIVED' })
      }
      if (row.archived !== undefined)
        expect(files(to).some((name) => readFileSync(join(to, name), 'utf8').includes(`"run/${row.run}"`))).toBe(true)
    }
    await ledger.close()
    opened.pop()
  }

  const points = [
    ['archive', 'writing', 5],
    ['archive', 'written', 2],
    ['archive', 'dropping', 2],
    ['archive', 'dropped', 1],
    ...(kind === 'sqlite'
      ? ([
          ['archive', 'commit.before', 1],
          ['archive', 'commit.after', 2],
          ['restore', 'commit.before', 1],
          ['restore', 'commit.before', 2],
          ['restore', 'commit.after', 1],
        ] as const)
      : []),
    ['restore', 'restoring', 12],
  ] as const

  test('R2: killed wherever it can be, nothing is lost and nothing is half there; the same again finishes', async () => {
    const original = await newStore('original')
    const first = await openAt(original)
    await fill(first)
    const before = await all(first)
    // A folder is copied as it lies there.
    if (kind === 'sqlite') await opened.pop()?.close()
    let killed = 0
    for (const [act, point, occurrence] of points) {
      const store = kind === 'sqlite' ? join(dir, `${act}-${point}-${occurrence}`) : await server.newDatabase()
      const to = `${join(dir, `out-${act}-${point}-${occurrence}`)}`
      if (kind === 'sqlite') cpSync(original, store, { recursive: true })
      else {
        const copy = await openAt(store)
        await copyStore(first, copy)
        await copy.close()
        opened.pop()
      }
      if (act === 'restore') expect(await child({ store, to, act: 'archive', point: 'none', occurrence: 0 })).toBe(0)
      if ((await child({ store, to, act, point, occurrence })) === 'SIGKILL') killed += 1
      await check(store, to, before)
      expect(await child({ store, to, act, point: 'none', occurrence: 0 })).toBe(0)
      const whole = await openAt(store)
      if (act === 'archive') {
        expect((await whole.runs({ tenant })).filter(({ archived }) => archived !== undefined)).toHaveLength(6)
        await restoreAll(whole, to)
      }
      const after = await all(whole)
      for (const [name, value] of before) expect([act, point, name, after.get(name)]).toEqual([act, point, name, value])
      await whole.close()
      opened.pop()
    }
    expect(killed).toBeGreaterThan(points.length / 2)
  }, 600_000)
})

test('R2: Postgres stopped at once in the middle loses nothing', async () => {
  const url = await server.newDatabase()
  const ledger = await openAt(url)
  await fill(ledger)
  const before = await all(ledger)
  const to = join(dir, 'out')
  const archiving = archiveRuns(ledger, archiveFolder(to), options).catch((error: unknown) => error)
  await vi.waitFor(() => expect(files(to).length).toBeGreaterThan(0), { timeout: 20_000, interval: 1 })
  await server.stop('immediate')
  await server.restart()
  await archiving
  await archiveRuns(ledger, archiveFolder(to), options)
  expect((await ledger.runs({ tenant })).filter(({ archived }) => archived !== undefined)).toHaveLength(6)
  await restoreAll(ledger, to)
  const after = await all(ledger)
  for (const [name, value] of before) expect([name, after.get(name)]).toEqual([name, value])
})
