/**
 * The child's half of a measurement: one workload on one system in one fresh process. A peer's program gives an
 * `Engine`; the workloads here are the same for all of them, so that only the engine differs. Figures leave through
 * file descriptor 3, since libraries log to the other two.
 */
import { writeSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { measureFsyncRate, peakRss } from '../limits.ts'
import { median } from '../quantile.ts'
import { resultOf, type StepResult } from '../results.ts'
import { ratesOf, rounds } from '../rounds.ts'

export type { StepResult }

/** The work inside a durable step: gives the result that the engine must store. `run` names the run, `i` the step. */
export type Body = (run: string, i: number) => StepResult

/** What a peer must be able to do. Each promise resolves when the engine says that the work is durably done. */
export interface Engine {
  /** One run of `steps` steps in sequence; the result of each is stored. */
  chain(run: string, steps: number): Promise<unknown>
  /** Takes up a chain that a killed process left, by whatever way the engine offers. */
  resume(run: string, steps: number): Promise<unknown>
  /**
   * One conversation; `before(turn)` is called as each turn begins. Each turn stores a question and an answer. Gives the
   * number of messages that the last turn had at hand in the end.
   */
  converse(run: string, turns: number, before: (turn: number) => void): Promise<number>
  /** One run that starts `branches` steps at once and joins them. */
  fanout(run: string, branches: number): Promise<unknown>
  /** Starts runs that wait for a signal; resolves when all of them wait, durably. */
  park(runs: readonly string[]): Promise<unknown>
  /** Signals all of them; resolves when all have ended. */
  wake(runs: readonly string[]): Promise<unknown>
  /** Bytes that the store takes when that is not the sum of its folder. */
  storedBytes?(): Promise<number>
  /** Syncs so far when strace cannot see them (a server of its own). */
  syncs?(): Promise<number>
  /** What the store says about its own durability, for the note. */
  durability(): Promise<string>
  close(): Promise<void>
}

export interface Peer {
  open(order: Order, body: Body): Promise<Engine>
  /** Why a system cannot do a workload of this size; undefined when it can. */
  cannot?(system: string, workload: string, size: number): string | undefined
}

/** What a child is told, as JSON in its first argument. */
export interface Order {
  readonly workload: string
  readonly system: string
  readonly dir: string
  readonly size: number
  /** `Date.now()` right before this process was started. */
  readonly spawnedAt: number
}

/** What a child answers: a figure a line. */
export interface Figure {
  readonly metric: string
  readonly value: number | null
  readonly unit: string
  readonly note?: string
}

export const WARMUP_STEPS = 100

type Workload = (order: Order, peer: Peer) => Promise<void>

const workloads: Record<string, Workload> = {
  chain,
  conversation,
  concurrent,
  fanout,
  'recovery-crash': recoveryCrash,
  recovery,
  parked,
  coldstart,
  syncs,
}

/** The last line of every peer's program. */
export async function serve(peer: Peer): Promise<void> {
  const order = JSON.parse(process.argv[2] ?? '{}') as Order
  const workload = workloads[order.workload]
  if (workload === undefined) throw new Error(`unknown workload ${order.workload}`)
  const reason = peer.cannot?.(order.system, order.workload.replace('-crash', ''), order.size)
  if (reason === undefined) await workload(order, peer)
  else tell({ metric: 'cannot', value: null, unit: '', note: reason })
  process.exit(0)
}

/** Runs `one` for each of `items`, at most `limit` at a time. */
export async function eachOf<T>(items: readonly T[], limit: number, one: (item: T) => Promise<unknown>): Promise<void> {
  let next = 0
  const lane = async (): Promise<void> => {
    while (next < items.length) {
      const item = items[next++]
      if (item !== undefined) await one(item)
    }
  }
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, lane))
}

async function chain(order: Order, peer: Peer): Promise<void> {
  const { dir, size } = order
  for (let i = 0; i < size; i++) resultOf(i, 1024)
  const at: number[] = []
  let calls = 0
  const body: Body = (run, i) => {
    if (run === 'chain') {
      at[i] = performance.now()
      calls += 1
    }
    return resultOf(i, 1024)
  }
  const engine = await peer.open(order, body)
  await engine.chain('warm-up', WARMUP_STEPS)
  // Before and after: on a shared machine the disk's own rate may change by ten within seconds.
  const before = measureFsyncRate(dir).append1k
  await engine.chain('chain', size)
  const end = performance.now()
  const after = measureFsyncRate(dir).append1k
  expect('steps', calls, size)
  const time = (from: number, to: number): number => (to === size ? end : (at[to] ?? NaN)) - (at[from] ?? NaN)
  const span = Math.min(100, Math.floor(size / 2))
  tell({ metric: 'steps_per_s', value: (size / time(0, size)) * 1000, unit: 'steps/s' })
  const note = `${Math.round(before)} before, ${Math.round(after)} after`
  tell({ metric: 'fdatasync_per_s', value: (before + after) / 2, unit: '1/s', note })
  const growth = time(size - 1 - span, size - 1) / time(0, span)
  tell({ metric: 'last100_over_first100', value: growth, unit: 'ratio' })
  tell({ metric: 'peak_mb', value: peakRss(), unit: 'MB' })
  await engine.close()
}

async function conversation(order: Order, peer: Peer): Promise<void> {
  const { size } = order
  for (let i = 0; i < 2 * size; i++) resultOf(i, 2048)
  const at: number[] = []
  const engine = await peer.open(order, (_run, i) => resultOf(i, 2048))
  await engine.converse('warm-up', 20, () => undefined)
  const empty = (await engine.storedBytes?.()) ?? 0
  const messages = await engine.converse('talk', size, (turn) => {
    at[turn] = performance.now()
  })
  at[size] = performance.now()
  expect('messages', messages, 2 * size)
  const bytes = ((await engine.storedBytes?.()) ?? 0) - empty
  // Single turns are noisy on a busy machine: the median of the five around each.
  const turn = (n: number): number =>
    median([-2, -1, 0, 1, 2].map((by) => Math.min(size, n + by)).map((n) => (at[n] ?? NaN) - (at[n - 1] ?? NaN)))
  const ratio = turn(size - 2) / turn(Math.min(10, Math.floor(size / 2)))
  tell({ metric: 'turn500_over_turn10', value: ratio, unit: 'ratio' })
  tell({ metric: 'total_ms', value: (at[size] ?? NaN) - (at[0] ?? NaN), unit: 'ms' })
  await engine.close()
  // A store that is a folder is measured by the parent after this process has ended.
  if (bytes > 0) tell({ metric: 'bytes_on_disk', value: bytes, unit: 'bytes' })
}

/** Later rounds, by code that has run before, are left out where the first one took longer than this. */
const patienceMs = 10_000

async function concurrent(order: Order, peer: Peer): Promise<void> {
  const { size } = order
  for (let i = 0; i < 10; i++) resultOf(i, 1024)
  let calls = 0
  const engine = await peer.open(order, (_run, i) => {
    calls += 1
    return resultOf(i, 1024)
  })
  await engine.chain('warm-up', 10)
  calls = 0
  const cpu = process.cpuUsage()
  const times: number[] = []
  for (let round = 0; round < rounds && (times[0] ?? 0) < patienceMs; round++) {
    const runs = Array.from({ length: size }, (_, i) => `run-${round}-${i}`)
    const from = performance.now()
    await Promise.all(runs.map((run) => engine.chain(run, 10)))
    times.push(performance.now() - from)
  }
  const used = process.cpuUsage(cpu)
  expect('steps', calls, size * 10 * times.length)
  for (const rate of ratesOf(times, size * 10)) tell({ ...rate, unit: 'steps/s' })
  tell({ metric: 'user_us_per_step', value: used.user / (size * 10 * times.length), unit: 'µs', note: 'CPU of all threads' })
  tell({ metric: 'peak_mb', value: peakRss(), unit: 'MB' })
  await engine.close()
}

async function fanout(order: Order, peer: Peer): Promise<void> {
  const { size } = order
  for (let i = 0; i <= size; i++) resultOf(i, 1024)
  let calls = 0
  const engine = await peer.open(order, (_run, i) => {
    calls += 1
    return resultOf(i, 1024)
  })
  await engine.fanout('warm-up', size)
  const times: number[] = []
  for (let round = 0; round < 5; round++) {
    const from = performance.now()
    await engine.fanout(`fan-${round}`, size)
    times.push(performance.now() - from)
  }
  expect('steps', calls, 6 * (size + 1))
  tell({ metric: 'ms', value: median(times), unit: 'ms', note: 'median of 5' })
  await engine.close()
}

/** Kills its own process from within step `size / 2`, before that step has a result. */
async function recoveryCrash(order: Order, peer: Peer): Promise<void> {
  const { size } = order
  const body: Body = (_run, i) => {
    if (i === size / 2) process.kill(process.pid, 'SIGKILL')
    return resultOf(i, 1024)
  }
  const engine = await peer.open(order, body)
  await engine.chain('chain', size)
  throw new Error('the process should have been killed')
}

async function recovery(order: Order, peer: Peer): Promise<void> {
  const { size, spawnedAt } = order
  const half = size / 2
  const repeated = new Set<number>()
  const reached = Promise.withResolvers<number>()
  const body: Body = (_run, i) => {
    if (i < half) repeated.add(i)
    else if (i === half) reached.resolve(Date.now() - spawnedAt)
    else reached.reject(new Error(`step ${i} ran before step ${half}, which was in flight at the kill`))
    return resultOf(i, 1024)
  }
  const engine = await peer.open(order, body)
  const ended = engine.resume('chain', size)
  const ms = await Promise.race([reached.promise, ended.then(() => reached.promise)])
  const again = repeated.size === 0 ? {} : { note: `${repeated.size} finished steps ran again` }
  tell({ metric: 'ms_to_first_new_step', value: ms, unit: 'ms', ...again })
}

async function parked(order: Order, peer: Peer): Promise<void> {
  const { size } = order
  let calls = 0
  const engine = await peer.open(order, (_run, i) => {
    calls += 1
    return resultOf(i, 1024)
  })
  await engine.park(['warm-up'])
  await engine.wake(['warm-up'])
  const idle = await settled()
  const runs = Array.from({ length: size }, (_, i) => `run-${i}`)
  const from = performance.now()
  await engine.park(runs)
  tell({ metric: 'ms_to_park_all', value: performance.now() - from, unit: 'ms' })
  const held = await settled()
  tell({ metric: 'mb_above_idle', value: held.resident - idle.resident, unit: 'MB', note: 'resident' })
  tell({ metric: 'heap_mb_above_idle', value: held.heap - idle.heap, unit: 'MB', note: 'live objects' })
  const before = performance.now()
  await engine.wake(runs)
  expect('woken runs', calls, size + 1)
  tell({ metric: 'ms_to_wake_all', value: performance.now() - before, unit: 'ms' })
  await engine.close()
}

async function coldstart(order: Order, peer: Peer): Promise<void> {
  const { size } = order
  const engine = await peer.open(order, (_run, i) => resultOf(i, 1024))
  await engine.chain('hello', size)
  await engine.close()
}

/** Run under strace twice, with two sizes: the difference is what the steps alone cost. */
async function syncs(order: Order, peer: Peer): Promise<void> {
  const { size } = order
  const engine = await peer.open(order, (_run, i) => resultOf(i, 1024))
  const before = (await engine.syncs?.()) ?? 0
  await engine.chain('chain', size)
  if (engine.syncs !== undefined) {
    tell({ metric: 'syncs', value: (await engine.syncs()) - before, unit: 'syncs' })
  }
  tell({ metric: 'durability', value: null, unit: '', note: await engine.durability() })
}

/** Memory after the garbage is gone, in MB: resident, and of live objects. */
async function settled(): Promise<{ readonly resident: number; readonly heap: number }> {
  const { gc } = globalThis as { gc?: () => void }
  for (let i = 0; i < 5; i++) {
    gc?.()
    await sleep(100)
  }
  const { rss, heapUsed } = process.memoryUsage()
  return { resident: rss / 1e6, heap: heapUsed / 1e6 }
}

/** A figure for work that was not done would be worse than none. */
function expect(what: string, found: number, wanted: number): void {
  if (found !== wanted) throw new Error(`${found} ${what}, expected ${wanted}`)
}

function tell(figure: Figure): void {
  writeSync(3, `${JSON.stringify(figure)}\n`)
}
