import { spawn, spawnSync } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, expect, test } from 'vitest'
import { ConvokeError } from '../../src/core/errors.ts'
import { runStream } from '../../src/core/projections.ts'
import { systemClock } from '../../src/system/clock.ts'
import { openSqliteLedger } from '../../src/ledger-sqlite/index.ts'
import { ended, sources } from '../durable/outside.ts'
import { begin, entriesOf, flow, lines, newWorld, temporaryFolder } from '../durable/world.ts'

const codeOf = (error: unknown): string => (error as ConvokeError).code
const after = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
const cleanups: (() => void)[] = []
afterEach(() => {
  for (const cleanup of cleanups.splice(0).reverse()) cleanup()
})

const chain = flow('chain', async (run, n: number) => {
  const done: number[] = []
  for (let i = 0; i < n; i++) done.push(await run.step('s', { input: i }, () => i))
  return done.length
})

test('LEDGER_BUSY: a store that another program has locked delays the run and loses nothing', async () => {
  const world = newWorld('sqlite')
  const ran: number[] = []
  const counting = flow('counting', async (run) => {
    for (let i = 0; i < 5; i++) await run.step('s', { input: i }, () => (ran.push(i), after(20)))
    return ran.length
  })
  const app = world.app([counting], {
    openLedger: () => openSqliteLedger({ dir: world.dir, durability: 'process-crash-only', busyMs: 150 }),
  })
  const handle = await begin(app, 'counting', null)
  await after(30)
  const other = new DatabaseSync(join(world.dir, 'ledger.db'), { timeout: 5_000 })
  other.exec('BEGIN IMMEDIATE')
  await after(600)
  other.exec('ROLLBACK')
  other.close()
  expect(await handle.result()).toBeGreaterThanOrEqual(5)
  expect(world.troubles.length).toBeGreaterThan(0)
  expect([...new Set(world.troubles.map((t) => codeOf(t.error)))]).toEqual(['LEDGER_BUSY'])
  // A body whose end could not be written may run again; one whose end was written may not.
  const completed = lines(await entriesOf(app)).filter((line) => line.startsWith('step.completed'))
  expect(completed).toEqual([
    'step.completed s',
    'step.completed s#2',
    'step.completed s#3',
    'step.completed s#4',
    'step.completed s#5',
  ])
})

test('STORE_UNUSABLE: a folder that cannot be written is said before anything runs', async () => {
  const dir = join(temporaryFolder(), 'readonly')
  mkdirSync(dir)
  chmodSync(dir, 0o500)
  cleanups.push(() => chmodSync(dir, 0o700))
  // Root may write everywhere: /proc is read-only to all.
  const target = process.getuid?.() === 0 ? '/proc/convoke' : dir
  const app = newWorld().app([chain], { openLedger: () => openSqliteLedger({ dir: target }) })
  expect(codeOf(await app.start('chain', 1).catch((e: unknown) => e))).toBe('STORE_UNUSABLE')
})

/** A small file system, where this process may make one. */
function smallDisk(size: string): string | undefined {
  const dir = temporaryFolder()
  if (
    process.platform !== 'linux' ||
    spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', dir]).status !== 0
  )
    return undefined
  cleanups.push(() => spawnSync('umount', ['-l', dir]))
  return dir
}

test('LEDGER_FULL: on a full disk runs wait, nothing acknowledged is lost, and all go on once there is room', async (context) => {
  const disk = smallDisk('3m')
  if (disk === undefined) return context.skip('no right to mount a small file system')
  const troubles: string[] = []
  const heavy = flow('heavy', async (run) => {
    for (let i = 0; i < 12; i++) await run.step('s', { input: i }, () => 'x'.repeat(60_000) + String(i))
    return 'done'
  })
  const open = () => openSqliteLedger({ dir: join(disk, 'store') })
  const app = newWorld().app([heavy, chain], {
    openLedger: open,
    onTrouble: (_, error) => void troubles.push(error.code),
  })
  const small = await begin(app, 'chain', 2, 'small')
  expect(await small.result()).toBe(2)
  const ballast = join(disk, 'ballast')
  writeFileSync(ballast, Buffer.alloc(1_000_000))
  const handles = []
  for (const run of ['a', 'b', 'c']) {
    const handle = await begin(app, 'heavy', null, run).catch((e: unknown) => e)
    if (handle instanceof ConvokeError) expect(handle.code).toBe('LEDGER_FULL')
    else handles.push(handle as Awaited<ReturnType<typeof begin>>)
  }
  for (let tries = 0; troubles.length === 0 && tries < 500; tries++) await after(20)
  expect([...new Set(troubles)]).toEqual(['LEDGER_FULL'])
  const kept = await Promise.all(handles.map(({ id }) => entriesOf(app, id)))
  spawnSync('mount', ['-o', 'remount,size=64m', disk])
  for (const handle of handles) expect(await handle.result()).toBe('done')
  expect(handles.length).toBeGreaterThan(0)
  for (const [i, before] of kept.entries()) {
    const now = await entriesOf(app, handles[i]!.id)
    expect(now.slice(0, before.length).map((e) => e.record.hash)).toEqual(before.map((e) => e.record.hash))
  }
}, 60_000)

test('a write torn at the end of the WAL costs at most what was not acknowledged, and the run goes on', async () => {
  const dir = temporaryFolder()
  const program = join(import.meta.dirname, '../durable/chain.ts')
  const child = spawn(process.execPath, [...sources, program, dir], { stdio: ['ignore', 'pipe', 'inherit'] })
  let acknowledged = 0
  child.stdout.on('data', (bytes: Buffer) => {
    acknowledged += bytes.toString().split('\n').length - 1
    if (acknowledged > 40) child.kill('SIGKILL')
  })
  await ended(child)
  const wal = join(dir, 'ledger.db-wal')
  const size = statSync(wal).size
  expect(size).toBeGreaterThan(0)
  // Half of a frame that the dead writer was about to add, in three ways.
  const tails = [Buffer.alloc(3_000, 7), readFileSync(wal).subarray(32, 2_000), Buffer.alloc(24)]
  for (const [i, tail] of tails.entries()) {
    const copy = join(temporaryFolder(), String(i))
    mkdirSync(join(copy, 'workers'), { recursive: true })
    for (const name of readdirSync(dir))
      if (statSync(join(dir, name)).isFile()) copyFileSync(join(dir, name), join(copy, name))
    writeFileSync(join(copy, 'ledger.db-wal'), Buffer.concat([readFileSync(wal), tail]))
    const ledger = await openSqliteLedger({ dir: copy })
    const { seq } = await ledger.head({ tenant: 'local', stream: runStream('chain') })
    expect(seq).toBeGreaterThanOrEqual(acknowledged + 2)
    await ledger.close()
    const again = spawnSync(process.execPath, [...sources, program, copy, '60'], { encoding: 'utf8' })
    expect([again.status, again.stdout.trim().split('\n').at(-1)]).toEqual([0, 'done 60'])
  }
  // A frame cut short by the file system: what it held had not been synced, so it had not been acknowledged.
  truncateSync(wal, size - 5)
  const ledger = await openSqliteLedger({ dir })
  expect((await ledger.head({ tenant: 'local', stream: runStream('chain') })).seq).toBeGreaterThan(2)
  await ledger.close()
}, 60_000)

test('a clock that jumps an hour ahead or back while runs work and wait neither ends nor repeats anything', async () => {
  let offset = 0
  const clock = { ...systemClock, now: () => Date.now() + offset }
  const world = newWorld('sqlite')
  const app = world.app([chain, flow('naps', async (run) => (await run.sleep(400), 'rested'))], {
    clock,
    leaseMs: 1_000,
  })
  const long = await begin(app, 'chain', 60, 'long')
  const back = await begin(app, 'naps', null, 'back')
  await after(50)
  offset = -3_600_000
  await after(1_300)
  expect((await back.status()).status).toBe('parked')
  offset = 3_600_000
  expect(await long.result()).toBe(60)
  expect(await back.result()).toBe('rested')
  expect(world.troubles).toEqual([])
})

test('a body that never returns holds up neither other runs nor the end of the process', async () => {
  const world = newWorld('sqlite')
  const stuck = flow('stuck', async (run) => run.step('never', () => new Promise(() => undefined)))
  const app = world.app([stuck, chain], { concurrency: 4 })
  const hung = await begin(app, 'stuck', null, 'hung')
  expect(await (await begin(app, 'chain', 5, 'other')).result()).toBe(5)
  const began = performance.now()
  await app.close()
  expect(performance.now() - began).toBeLessThan(4_000)
  const next = world.app([stuck])
  expect(await (await next.run('hung')).status()).toMatchObject({ run: hung.id, status: 'queued' })
})

test('poison: runs that break the engine in every way they can do not stop the others', async () => {
  const world = newWorld()
  const trap = (): never => {
    throw new Error('trap')
  }
  const poisons = {
    'throws at once': (): never => trap(),
    'throws nothing': () => Promise.reject(undefined as unknown as Error),
    'bare object': () => Promise.reject(Object.create(null) as Error),
    'odd message': () => Promise.reject(Object.assign(new Error('x'), { message: Symbol('s') as unknown as string })),
    'getter in the result': async () => Object.defineProperty({}, 'a', { enumerable: true, get: trap }),
    'proxy in the result': async () => new Proxy({}, { ownKeys: trap, getPrototypeOf: () => Object.prototype }),
    'no promise at all': () => 5 as unknown as Promise<number>,
    'a thenable that throws': () =>
      new Proxy({}, { get: (_, key) => (key === 'then' ? trap : undefined) }) as unknown as Promise<number>,
  }
  const poisoned = Object.entries(poisons).map(([name, code]) => flow(name, code as () => Promise<unknown>))
  const inside = Object.entries(poisons).map(([name, code]) =>
    flow(`step ${name}`, async (run) => run.step('s', code as () => unknown).catch((e: unknown) => `${codeOf(e)}`)),
  )
  const parse = { ...flow('parse', async () => 1), parseInput: trap, parseOutput: trap }
  const output = { ...flow('output', async () => 1), parseOutput: trap }
  const app = world.app([...poisoned, ...inside, output, chain])
  for (const { name } of poisoned) {
    const result = await (await begin(app, name, null, name.replaceAll(' ', '-'))).result().catch(codeOf)
    expect([name, result]).toEqual([name, name === 'no promise at all' ? 5 : 'RUN_FAILED'])
  }
  for (const { name } of inside) {
    const result = await (await begin(app, name, null, name.replaceAll(' ', '-'))).result()
    expect([name, result]).toEqual([name, name === 'step no promise at all' ? 5 : expect.stringMatching(/^[A-Z_]+$/)])
  }
  expect(await (await begin(app, 'output', null, 'output')).result().catch(codeOf)).toBe('RUN_FAILED')
  expect(
    codeOf(
      await world
        .app([parse])
        .start('parse', null)
        .catch((e: unknown) => ({ code: (e as Error).message })),
    ),
  ).toBe('trap')
  expect(await (await begin(app, 'chain', 3, 'healthy')).result()).toBe(3)
  expect(world.troubles).toEqual([])
})

test.each(['exit', 'kill', 'throw'])(
  'poison: a run that ends the whole process (%s) each time it is driven lets the others get on',
  (how) => {
    const dir = temporaryFolder()
    const program = join(import.meta.dirname, '../durable/poison.ts')
    let starts = 0
    for (let out = ''; out !== 'done' && starts < 20; starts++)
      out = spawnSync(process.execPath, [...sources, program, dir, how], { encoding: 'utf8' }).stdout
    expect(starts).toBeLessThan(20)
    expect(starts).toBeGreaterThan(1)
  },
  60_000,
)

test('a redaction hook that throws writes nothing, is told of, and holds up only the runs it concerns', async () => {
  const world = newWorld()
  let broken = true
  const secretive = flow('secretive', async (run) => run.step('s', () => ({ token: 'hush' })))
  const app = world.app([secretive, chain], {
    redact: (value) => {
      if (broken && JSON.stringify(value).includes('hush')) throw new Error('the hook is broken')
      return JSON.parse(JSON.stringify(value).replaceAll('hush', '***')) as typeof value
    },
  })
  const held = await begin(app, 'secretive', null, 'held')
  expect(await (await begin(app, 'chain', 3, 'other')).result()).toBe(3)
  await after(100)
  expect(lines(await entriesOf(app, 'held'))).not.toContain('step.completed s')
  expect(world.troubles[0]).toMatchObject({ run: 'held', error: { message: 'the hook is broken' } })
  broken = false
  expect(await held.result()).toEqual({ token: '***' })
})

test('WORKFLOW_UNKNOWN and RECORD_UNSUPPORTED: a run this build cannot drive is told of, left alone, and free for another', async () => {
  const world = newWorld('sqlite')
  const newer = flow('newer', async (run) => run.step('s', () => 1))
  const starter = world.app([newer], { drives: false })
  await starter.start('newer', null, { id: 'r' })
  const without = world.app([chain])
  await without.work()
  expect(await (await begin(without, 'chain', 2, 'other')).result()).toBe(2)
  await after(200)
  expect(new Set(world.troubles.map((t) => `${t.run} ${codeOf(t.error)}`))).toEqual(new Set(['r WORKFLOW_UNKNOWN']))
  // The other build runs in another process while this one lives.
  const withIt = world.app([newer])
  await withIt.work()
  expect(await (await withIt.run('r')).result()).toBe(1)
})

test('files of workers that are gone do not pile up', async () => {
  const world = newWorld('sqlite')
  for (let i = 0; i < 3; i++) {
    const app = world.app([chain])
    await (await begin(app, 'chain', 1, `r${i}`)).result()
    await app.close()
  }
  expect(existsSync(join(world.dir, 'workers'))).toBe(true)
  expect(readdirSync(join(world.dir, 'workers'))).toEqual([])
})
