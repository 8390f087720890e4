import { spawn, type ChildProcess } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { inboxStream, runStream, type RunRow } from '../../src/core/projections.ts'
import { openSqliteLedger } from '../../src/ledger-sqlite/index.ts'
import type { Ledger } from '../../src/ports/ledger.ts'
import { startRun } from '../../src/replay/start.ts'
import type { AnyWorkflow } from '../../src/replay/workflow.ts'
import { systemClock } from '../../src/system/clock.ts'
import { systemIds } from '../../src/system/ids.ts'
import { ended, sources, startOutside, type Outside } from '../durable/outside.ts'
import { isFree, stateOf } from '../durable/stop.ts'

const tenant = 'local'
const system = { kind: 'system', id: 'test' } as const
const after = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
const cleanups: (() => Promise<void> | void)[] = []
let outside: Outside
beforeAll(async () => {
  outside = await startOutside()
})
afterAll(() => outside.close())
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

interface Shared {
  readonly dir: string
  readonly name: string
  readonly ledger: Ledger
  start(workflow: string, run: string): Promise<void>
  worker(options?: {
    readonly leaseMs?: number
    readonly stopAt?: string
    readonly where?: 'never' | 'only'
  }): Promise<Worker>
  until(enough: (rows: readonly RunRow[]) => boolean, what: string): Promise<readonly RunRow[]>
}

interface Worker {
  readonly child: ChildProcess
  readonly troubles: { readonly run: string; readonly code: string }[]
  /** Until it has stopped itself, outside any transaction unless told. */
  stopped(options?: { readonly inTransaction?: boolean }): Promise<void>
}

async function shared(): Promise<Shared> {
  const dir = mkdtempSync(join(tmpdir(), 'convoke-races-'))
  cleanups.push(() => rmSync(dir, { recursive: true, force: true, maxRetries: 3 }))
  const ledger = await openSqliteLedger({ dir, durability: 'process-crash-only' })
  cleanups.push(() => ledger.close())
  const deps = { ledger, clock: systemClock, ids: systemIds(), redact: <T>(value: T): T => value }
  const name = basename(dir)
  return {
    dir,
    name,
    ledger,
    start: async (workflow, run) => {
      const its = { name: workflow, version: '1', digest: 'elsewhere' } as AnyWorkflow
      await startRun({ tenant, run, workflow: its, input: undefined, actor: system }, deps)
    },
    async worker({ leaseMs = 10_000, stopAt, where } = {}) {
      const program = join(import.meta.dirname, '../durable/worker.ts')
      const args = [dir, outside.url(name), String(leaseMs), ...(where === undefined ? [] : [where])]
      const child = spawn(process.execPath, [...sources, program, ...args], {
        stdio: ['pipe', 'pipe', 'inherit'],
        env: { ...process.env, ...(stopAt === undefined ? {} : { CONVOKE_STOP_AT: stopAt }) },
      })
      const troubles: Worker['troubles'] = []
      let ready = (): void => undefined
      const begun = new Promise<void>((resolve, reject) => {
        ready = resolve
        child.once('exit', (code) => reject(new Error(`the worker ended with ${String(code)} before it was ready`)))
      })
      begun.catch(() => undefined)
      let rest = ''
      child.stdout.on('data', (bytes: Buffer) => {
        const lines = (rest + bytes.toString()).split('\n')
        rest = lines.pop() ?? ''
        for (const line of lines)
          if (line.includes('"ready"')) ready()
          else troubles.push(JSON.parse(line) as { run: string; code: string })
      })
      cleanups.push(async () => {
        child.kill('SIGCONT')
        child.stdin.end()
        await ended(child)
      })
      if (stopAt === undefined) await begun
      return {
        child,
        troubles,
        async stopped({ inTransaction = false } = {}) {
          const again = join(dir, 'stop-again')
          for (;;) {
            for (let tries = 0; existsSync(again) || stateOf(child.pid as number) !== 'T'; tries++) {
              if (tries > 2_000) throw new Error('the worker did not stop')
              await after(10)
            }
            if (inTransaction || isFree(dir)) return
            writeFileSync(again, '')
            child.kill('SIGCONT')
          }
        },
      }
    },
    async until(enough, what) {
      for (const end = Date.now() + 45_000; Date.now() < end; await after(25)) {
        const rows = await ledger.runs({ tenant, limit: 1_000 })
        if (enough(rows)) return rows
      }
      throw new Error(`waited in vain for ${what}: ${JSON.stringify(await ledger.runs({ tenant, limit: 20 }))}`)
    },
  }
}

async function send(ledger: Ledger, run: string, id: string): Promise<void> {
  const message = { id, type: 'signal', at: Date.now(), actor: system, payload: { name: 'go', value: 'go' } }
  await ledger.post({ tenant, stream: inboxStream(run) }, message)
}

/** Which workers wrote a run's records, by epoch. */
async function epochs(ledger: Ledger, run: string): Promise<number[]> {
  const records = await ledger.read({ tenant, stream: runStream(run) })
  return [...new Set(records.map((r) => r.epoch))]
}

test('R1 R7: two processes resume the same 200 runs, twice each: no step body and no effect twice', async () => {
  const world = await shared()
  const runs = Array.from({ length: 200 }, (_, i) => `r${i}`)
  for (const run of runs) await world.start('contend', run)
  const workers = await Promise.all([world.worker(), world.worker()])
  await world.until((rows) => rows.filter((r) => r.status === 'parked').length === runs.length, 'all to park')
  for (const run of runs) await send(world.ledger, run, 'go')
  await world.until((rows) => rows.every((r) => r.status === 'done'), 'all to end')
  const { ran } = await outside.audit(world.name)
  expect(Object.keys(ran)).toHaveLength(runs.length * 5)
  expect(Object.entries(ran).filter(([, times]) => times !== 1)).toEqual([])
  for (const worker of workers) expect(worker.troubles).toEqual([])
  const seen = await Promise.all(runs.slice(0, 20).map((run) => epochs(world.ledger, run)))
  expect(seen.every((its) => its.length >= 2)).toBe(true)
}, 120_000)

const stops = [
  'append.before:step.completed#2',
  'append.after:step.completed#1',
  'tool.before:pay#1',
  'append.before:tool.dispatched#1',
]

/** Both leases last 600 ms: one that the caller's thread renews is sixty times as long. */
const places = [
  { where: 'never', leaseMs: 600, place: "the ledger's thread" },
  { where: 'only', leaseMs: 10, place: 'its own thread' },
] as const
const stopped = places.flatMap((place) => stops.map((stopAt) => ({ stopAt, ...place })))

test.skipIf(process.platform !== 'linux').each(stopped)(
  'R7: a worker stopped at $stopAt past its lease, renewed in $place, is shut out (EPOCH_STALE, LEASE_EXPIRED) and repeats no effect',
  async ({ stopAt, where, leaseMs }) => {
    const world = await shared()
    await world.start('slow', 'z')
    const zombie = await world.worker({ leaseMs, stopAt, where })
    await zombie.stopped()
    const heir = await world.worker({ leaseMs: 600 })
    await world.until((rows) => rows[0]?.status === 'done', 'the heir to finish')
    const records = await world.ledger.read({ tenant, stream: runStream('z') })
    const before = await outside.audit(world.name)
    zombie.child.kill('SIGCONT')
    for (let tries = 0; zombie.troubles.length === 0 && tries < 400; tries++) await after(10)
    await after(300)
    expect(zombie.troubles.map((t) => ['EPOCH_STALE', 'LEASE_EXPIRED', 'POSITION_STALE'].includes(t.code))).toContain(
      true,
    )
    expect(zombie.troubles.filter((t) => t.run !== 'z')).toEqual([])
    // Whoever it was that paid, it was paid once; and after the heir had finished nothing ran any more.
    const { ran } = await outside.audit(world.name)
    expect(ran).toEqual(before.ran)
    expect([ran['z/pay'], ran['z/last']]).toEqual([1, 1])
    expect(await world.ledger.read({ tenant, stream: runStream('z') })).toEqual(records)

    // The worker that was shut out goes on as a new one.
    heir.child.stdin?.end()
    await ended(heir.child)
    await world.start('slow', 'next')
    await world.until((rows) => rows.every((r) => r.status === 'done'), 'the former zombie to drive again')
    expect((await outside.audit(world.name)).ran['next/pay']).toBe(1)
  },
  60_000,
)

test.skipIf(process.platform !== 'linux')(
  'a worker stopped inside a transaction holds the others up, and nothing is lost or repeated once it goes on',
  async () => {
    const world = await shared()
    await world.start('slow', 'before')
    const other = await world.worker()
    const holder = await world.worker({ stopAt: 'commit.before#2' })
    await holder.stopped({ inTransaction: true })
    const started = world.start('slow', 'z')
    await after(1_000)
    holder.child.kill('SIGCONT')
    await started
    await world.until((rows) => rows.length === 2 && rows.every((r) => r.status === 'done'), 'the runs to end')
    expect([...other.troubles, ...holder.troubles]).toEqual([])
    const { ran } = await outside.audit(world.name)
    expect(Object.keys(ran)).toHaveLength(8)
    expect(Object.values(ran).every((times) => times === 1)).toBe(true)
  },
  60_000,
)
