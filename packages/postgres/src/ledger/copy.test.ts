/** A store that moves: from a folder to Postgres and back, everything is there, and a parked run goes on. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { z } from 'zod'
import {
  convoke,
  copyStore,
  decideApproval,
  policy,
  signal,
  tool,
  workflow,
  type App,
  type ConvokeOptions,
  type Ledger,
  type LedgerRecord,
} from 'convoke'
import type { StoreItem } from 'convoke/adapter'
import { openSqliteLedger } from 'convoke/sqlite'
import { createChain } from 'convoke/testing'
import { exportCheckpoint, newSigningKey, publicKeyOf, verifyLedger, type Checkpoint } from 'convoke/views'
import { startEmbeddedPostgres, type EmbeddedPostgres } from '../embedded.ts'
import { openPostgresLedger } from './open.ts'

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 })

const done: string[] = []
const effect = (name: string): ReturnType<typeof tool> =>
  tool({
    name,
    description: 'counts at its counterpart',
    effect: 'keyed',
    inputSchema: z.object({ number: z.string() }),
    outputSchema: z.object({ ok: z.boolean() }),
    execute: ({ number }) => {
      done.push(`${name} ${number}`)
      return Promise.resolve({ ok: true })
    },
  }) as ReturnType<typeof tool>
const book = effect('book')
const pay = effect('pay')
const go = signal({ name: 'go', schema: z.string() })
const invoice = workflow({ name: 'invoice', input: z.string() }, async (run, number) => {
  await run.call(book, { number }, { businessKey: `book ${number}` })
  const word = await run.receive(go)
  await run.call(pay, { number }, { businessKey: `pay ${number}` })
  return `${number} ${word} ${'long '.repeat(20_000).length}`
})
const long = workflow({ name: 'long' }, async (run) => run.step('much', () => 'x'.repeat(200_000)))
const options: Omit<ConvokeOptions, 'store'> = {
  workflows: { invoice, long },
  tools: [book, pay],
  policy: policy({ version: '1', rules: [{ tool: 'pay', hold: { category: 'payment' } }] }),
}

const tenant = 'local'
const other = 'other, with a \0 and \u{10FFFF}'
let server: EmbeddedPostgres
let dir: string
let original: Ledger
let checkpoint: Checkpoint
let publicKey: string
const opened: Ledger[] = []

const folder = async (name: string): Promise<Ledger> => {
  const ledger = await openSqliteLedger({ dir: join(dir, name) })
  opened.push(ledger)
  return ledger
}
const database = async (): Promise<Ledger> => {
  const ledger = await openPostgresLedger(await server.newDatabase())
  opened.push(ledger)
  return ledger
}
/** On a ledger that stays open when the app closes. */
async function withApp<T>(ledger: Ledger, use: (app: App) => Promise<T>): Promise<T> {
  const app = convoke({ ...options, store: () => Promise.resolve({ ...ledger, close: () => Promise.resolve() }) })
  try {
    return await use(app)
  } finally {
    await app.close()
  }
}

async function fill(ledger: Ledger): Promise<void> {
  await withApp(ledger, async (app) => {
    for (const number of ['A', 'B'])
      expect(await (await app.start(invoice, number, { id: `r_${number}` })).settled()).toMatchObject({
        parkedOn: 'signal',
      })
    await (await app.run('r_B')).signal(go, 'now', { id: 'twice' })
    await vi.waitFor(async () => expect(await ledger.approvals({ tenant })).toHaveLength(1), { timeout: 20_000 })
    await (await app.run('r_B')).settled()
    await (await app.start(long, null, { id: 'r_long' })).result()
  })
  const chain = createChain({ tenant: other, stream: 'memory/m\0' })
  const records = Array.from({ length: 1_200 }, (_, i) =>
    chain.next({ type: 'noted', path: 'p\0', payload: { i, text: '\u0000 ü \u{10FFFF}' } }),
  )
  await ledger.append([{ ref: chain.ref, epoch: 0, records }], {
    guards: [
      { kind: 'unique', tenant: other, key: '', owner: 'me\0' },
      { kind: 'counter', tenant: other, counter: 'eur', key: 'one', add: 0.1, max: 10 },
      { kind: 'counter', tenant: other, counter: 'eur', key: 'two', add: 0.2, max: 10 },
    ],
  })
}

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'convoke-copy-'))
  server = await startEmbeddedPostgres({ fsync: false })
  original = await folder('original')
  await fill(original)
  const key = newSigningKey()
  publicKey = publicKeyOf(key)
  checkpoint = await exportCheckpoint(original, tenant, key, 1_000)
})
afterAll(async () => {
  await Promise.all(opened.map((ledger) => ledger.close()))
  await server?.close()
  rmSync(dir, { recursive: true, force: true })
})

const transferOf = (ledger: Ledger): NonNullable<Ledger['transfer']> => {
  if (ledger.transfer === undefined) throw new Error('this ledger cannot be copied')
  return ledger.transfer
}

async function itemsOf(ledger: Ledger): Promise<StoreItem[]> {
  const items: StoreItem[] = []
  for await (const item of transferOf(ledger).export()) items.push(item)
  return items
}

/** Everything of a store that somebody can ask for; blobs in no particular order. */
async function everything(ledger: Ledger): Promise<unknown> {
  const items = await itemsOf(ledger)
  const blobs = items
    .flatMap((item) =>
      item.kind === 'blob' ? [{ ...item, bytes: Buffer.from(item.bytes ?? '').toString('hex') }] : [],
    )
    .sort((a, b) => (a.hash < b.hash ? -1 : 1))
  const rest = items
    .filter(({ kind }) => kind !== 'blob')
    .map((item) => (item.kind === 'tenant' ? { ...item, key: Buffer.from(item.key).toString('hex') } : item))
  const records = items.flatMap((item) => (item.kind === 'record' ? [item.record] : []))
  const refs = [...new Set(records.flatMap(({ causes }) => causes.map(({ ref }) => ref)))]
  return {
    blobs,
    rest,
    heads: [await ledger.heads(tenant), await ledger.heads(other)],
    outlines: await Promise.all(
      ['r_A', 'r_B', 'r_long'].map((run) => ledger.read({ tenant, stream: `run/${run}` }, { outline: true })),
    ),
    runs: await ledger.runs({ tenant }),
    approvals: await ledger.approvals({ tenant }),
    ready: await ledger.ready({ now: Number.MAX_SAFE_INTEGER, limit: 100 }),
    dependents: await Promise.all(refs.map(async (ref) => [ref, await ledger.dependents(tenant, ref)])),
  }
}

async function* some(items: AsyncIterable<StoreItem>, until: (item: StoreItem) => boolean): AsyncGenerator<StoreItem> {
  for await (const item of items) {
    if (until(item)) throw new Error('cut off')
    yield item
  }
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error = (await promise.catch((caught: unknown) => caught)) as { code?: string; message?: string } | undefined
  return error?.code ?? String(error?.message)
}

describe('a copy', () => {
  test('folder → Postgres → folder: everything is the same, byte for byte', async () => {
    const before = await everything(original)
    const postgres = await database()
    const seen: number[] = []
    const count = await copyStore(original, postgres, { onProgress: ({ records }) => seen.push(records) })
    expect(count).toMatchObject({ tenants: 2, found: 0 })
    expect(count.records).toBeGreaterThan(1_200)
    expect(count.blobs).toBeGreaterThan(0)
    expect(seen.length).toBeGreaterThan(0)
    expect(await everything(postgres)).toEqual(before)
    const back = await folder('back')
    expect(await copyStore(postgres, back)).toEqual(count)
    expect(await everything(back)).toEqual(before)

    for (const copy of [postgres, back]) {
      const report = await verifyLedger(copy, tenant, { against: checkpoint, publicKey })
      expect([report.findings, report.against?.heads]).toEqual([[], checkpoint.heads.length])
      expect(await copy.guardOwner(other, '')).toBe('me\0')
      const guard = { kind: 'counter', tenant: other, counter: 'eur', key: 'three', add: 9.75, max: 10 } as const
      expect(await codeOf(copy.append([], { guards: [guard] }))).toBe('COUNTER_EXCEEDED')
      // What was counted is not counted again.
      await copy.append([], { guards: [{ ...guard, key: 'two', add: 99 }] })
      expect(
        await copy.post(
          { tenant, stream: 'inbox/r_B' },
          { id: 'never seen', type: 'x', at: 1, actor: { kind: 'system', id: 's' }, payload: null },
        ),
      ).toMatchObject({ duplicate: false })
    }
  })

  test('a parked run of the copy goes on; what was done in the original is not done again', async () => {
    const copy = await database()
    await copyStore(original, copy, { tenant })
    expect(await copy.heads(other)).toEqual([])
    done.length = 0
    await withApp(copy, async (app) => {
      const runs = [await app.run('r_A'), await app.run('r_B')]
      await (runs[0] as (typeof runs)[0]).signal(go, 'later')
      await app.work()
      await vi.waitFor(async () => expect(await copy.approvals({ tenant })).toHaveLength(2), { timeout: 20_000 })
      for (const { id } of await copy.approvals({ tenant }))
        await decideApproval(copy, {
          tenant,
          id,
          decision: 'approved',
          by: { kind: 'person', id: 'ann' },
          at: Date.now(),
        })
      expect(await Promise.all(runs.map((run) => run.result()))).toEqual(['A later 100000', 'B now 100000'])
      // Its business key is still taken.
      const again = await app.start(invoice, 'A', { id: 'r_again' })
      expect(await again.settled()).toMatchObject({ error: 'BUSINESS_KEY_TAKEN' })
    })
    expect(done.sort()).toEqual(['pay A', 'pay B'])
    const report = await verifyLedger(copy, tenant, { against: checkpoint, publicKey })
    expect(report.findings).toEqual([])
  })
})

describe.each(['folder', 'database'])('into a %s', (kind) => {
  let made = 0
  const target = (): Promise<Ledger> => (kind === 'folder' ? folder(`target ${++made}`) : database())

  test('a copy broken off is started again; until it is complete nobody drives it', async () => {
    const copy = await target()
    let records = 0
    const cut = some(
      transferOf(original).export(),
      (item) => item.kind === 'record' && item.tenant === other && ++records > 700,
    )
    expect(await codeOf(transferOf(copy).import(cut))).toBe('cut off')
    // The first tenant is complete, the second is not.
    expect(await copy.heads(other)).toMatchObject([{ seq: 500 }])
    const lease = await copy.register('w')
    const ref = { tenant: other, stream: 'memory/m\0' }
    expect(await codeOf(copy.claim(ref, 'w'))).toBe('STORE_UNUSABLE')
    // The first tenant may be driven; what is done there stays, though the same copy is started again.
    await copy.post(
      { tenant, stream: 'inbox/r_A' },
      { id: 'meanwhile', type: 'x', at: 1, actor: { kind: 'system', id: 's' }, payload: null },
    )
    const inbox = await copy.head({ tenant, stream: 'inbox/r_A' })
    const count = await copyStore(original, copy)
    expect(count).toMatchObject({ tenants: 2, records: 700 })
    expect(count.found).toBeGreaterThan(500)
    expect(await copy.head({ tenant, stream: 'inbox/r_A' })).toEqual(inbox)
    // Once it is complete, it is a store in use as any other.
    expect(await codeOf(copyStore(original, copy))).toBe('STORE_UNUSABLE')
    expect((await copy.claim(ref, 'w')).seq).toBe(1_200)
    await lease.release()
    const recordsOf = async (ledger: Ledger): Promise<StoreItem[]> =>
      (await itemsOf(ledger)).filter((item) => item.kind === 'record' && item.record.stream !== 'inbox/r_A')
    expect(await recordsOf(copy)).toEqual(await recordsOf(original))
  })

  test('STORE_UNUSABLE: a store that holds something, a tenant that there is not, another history', async () => {
    const used = await target()
    const chain = createChain({ tenant, stream: 'run/r_A' })
    const foreign: LedgerRecord = chain.next({ type: 'noted', payload: 'mine' })
    await used.append([{ ref: chain.ref, epoch: 0, records: [foreign] }])
    expect(await codeOf(copyStore(original, used))).toBe('STORE_UNUSABLE')
    expect(await used.read(chain.ref)).toEqual([foreign])
    expect(await codeOf(copyStore(original, await target(), { tenant: 'nobody' }))).toBe('STORE_UNUSABLE')
    const half = await target()
    const start = some(transferOf(original).export(tenant), ({ kind }) => kind !== 'tenant')
    expect(await codeOf(transferOf(half).import(start))).toBe('cut off')
    await half.append([{ ref: chain.ref, epoch: 0, records: [foreign] }])
    expect(await codeOf(copyStore(original, half, { tenant }))).toBe('STORE_UNUSABLE')
  })

  test('an erased blob stays one: the record that names it still chains', async () => {
    const copy = await target()
    const hash = 'ab'.repeat(32)
    const chain = createChain({ tenant, stream: 'memory/m' })
    const record = chain.next({ type: 'noted', blobs: [hash], payload: 1 })
    async function* items(): AsyncGenerator<StoreItem> {
      yield { kind: 'tenant', tenant, key: new Uint8Array(32).fill(7) }
      yield { kind: 'blob', tenant, hash, mediaType: 'text/plain' }
      yield { kind: 'record', tenant, record }
    }
    await transferOf(copy).import(items())
    expect(await copy.read(chain.ref)).toEqual([record])
    expect(await copy.getBlob(tenant, hash)).toBeUndefined()
    expect(Uint8Array.from(await copy.tenantKey(tenant))).toEqual(new Uint8Array(32).fill(7))
    expect(await itemsOf(copy)).toContainEqual({ kind: 'blob', tenant, hash, mediaType: 'text/plain' })
  })

  test('says how many runs live workers hold', async () => {
    const ledger = await target()
    await copyStore(original, ledger, { tenant })
    expect(await transferOf(ledger).held()).toBe(0)
    const lease = await ledger.register('w')
    await ledger.claim({ tenant, stream: 'run/r_A' }, 'w')
    expect([await transferOf(ledger).held(tenant), await transferOf(ledger).held('none')]).toEqual([1, 0])
    await lease.release()
    expect(await transferOf(ledger).held()).toBe(0)
  })
})
