import { appendFileSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { expect, test } from 'vitest'
import { begin, entriesOf, flow, lines, newWorld, temporaryFolder, type World } from '../../test/durable/world.ts'
import { ConvokeError } from '../core/errors.ts'
import { openSqliteLedger } from '../ledger-sqlite/index.ts'
import type { Ledger, StreamAppend } from '../ports/ledger.ts'
import type { Clock } from '../ports/runtime.ts'
import { systemClock } from '../system/clock.ts'
import { createMemoryStore } from '../testing/memory-ledger.ts'
import { readAll } from './history.ts'

// Steps that only compute: they begin before what they build on is on disk, and nothing else does.

/** A ledger whose appends to a run wait until they are let through. */
function slowly(): { readonly open: () => Promise<Ledger>; release(): void; readonly sizes: number[] } {
  const store = createMemoryStore()
  const sizes: number[] = []
  const waiting: (() => void)[] = []
  let open = false
  return {
    sizes,
    release() {
      open = true
      for (const go of waiting.splice(0)) go()
    },
    open: async () => {
      const ledger = store.open()
      const append: Ledger['append'] = async (batch: readonly StreamAppend[], options) => {
        if (batch.some((part) => part.records.some((record) => record.seq > 2))) {
          sizes.push(batch.flatMap((part) => part.records).length)
          if (!open) await new Promise<void>((resolve) => waiting.push(resolve))
        }
        await ledger.append(batch, options)
      }
      return { ...ledger, append }
    },
  }
}

/** Its time passes by being looked at: every stretch of computations is over after one of them, on any machine. */
function hastyClock(): Clock {
  let passed = 0
  return { ...systemClock, monotonic: () => (passed += 5) }
}

const quiet = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 40))

test('R2: they begin before what they build on is on disk; a step that may read does not', async () => {
  const disk = slowly()
  const ran: string[] = []
  const app = newWorld().app(
    [
      flow('pure', async (run) => {
        const step = (name: string, pure: boolean): Promise<string> =>
          run.step(name, { pure }, () => {
            ran.push(name)
            return name
          })
        for (let i = 0; i < 20; i++) await step(`p${i}`, true)
        await step('reads', false)
        return step('after', true)
      }),
    ],
    { openLedger: disk.open, clock: hastyClock() },
  )
  const handle = await begin(app, 'pure', null)
  await expect.poll(() => ran.length).toBe(20)
  await quiet()
  // The first is being written, what came meanwhile waits for it, and the step that may read for all of them.
  expect(ran.at(-1)).toBe('p19')
  expect(disk.sizes[0]).toBe(1)
  disk.release()
  expect(await handle.result()).toBe('after')
  expect(disk.sizes.length).toBeLessThan(10)
  expect(lines(await entriesOf(app)).filter((line) => line.startsWith('step.'))).toHaveLength(22)
})

test('no more than a few hundred wait in memory', async () => {
  const disk = slowly()
  let ran = 0
  const app = newWorld().app(
    [
      flow('many', async (run) => {
        for (let i = 0; i < 1_000; i++) await run.step(`p${i}`, { pure: true }, () => ++ran)
        return ran
      }),
    ],
    { openLedger: disk.open },
  )
  const handle = await begin(app, 'many', null)
  await expect.poll(() => ran).toBeGreaterThan(200)
  await quiet()
  expect(ran).toBeLessThan(300)
  disk.release()
  expect(await handle.result()).toBe(1_000)
})

test('large results wait for less', async () => {
  const disk = slowly()
  let ran = 0
  const app = newWorld().app(
    [
      flow('large', async (run) => {
        for (let i = 0; i < 40; i++) await run.step(`p${i}`, { pure: true }, () => `${++ran} ${'x'.repeat(1_000_000)}`)
        return ran
      }),
    ],
    { openLedger: disk.open },
  )
  const handle = await begin(app, 'large', null)
  await expect.poll(() => ran).toBeGreaterThan(5)
  await quiet()
  expect(ran).toBeLessThan(15)
  disk.release()
  expect(await handle.result()).toBe(40)
})

test('an append that is refused ends them, and another worker goes on from what is on disk', async () => {
  const world: World = newWorld()
  const store = createMemoryStore()
  const bodies: string[] = []
  let refuse = true
  const code = flow('refused', async (run) => {
    for (let i = 0; i < 200; i++)
      await run.step(`p${i}`, { pure: true }, () => {
        bodies.push(`p${i}`)
        return i
      })
    return 'done'
  })
  const first = world.app([code], {
    openLedger: async () => {
      const ledger = store.open()
      return {
        ...ledger,
        append: async (batch, options) => {
          if (refuse && batch.some((part) => part.records.some((record) => record.seq > 20)))
            throw new ConvokeError('EPOCH_STALE', 'another worker drives it')
          await ledger.append(batch, options)
        },
      }
    },
  })
  await begin(first, 'refused', null)
  await expect.poll(() => world.troubles.length).toBeGreaterThan(0)
  expect(world.troubles[0]?.error.code).toBe('EPOCH_STALE')
  expect(bodies.length).toBeLessThan(200)
  await first.close()
  refuse = false
  const second = world.app([code], { openLedger: async () => store.open() })
  await second.work()
  expect(await (await second.run('r')).result()).toBe('done')
  const entries = await entriesOf(second)
  expect(entries.map(({ record }) => record.seq)).toEqual(entries.map((_, i) => i + 1))
  expect(lines(entries).filter((line) => line.startsWith('step.completed'))).toHaveLength(200)
})

test('R1: after SIGKILL none runs again that is on disk, few do that were not, and no effect is made twice', async () => {
  const dir = temporaryFolder()
  const program = join(import.meta.dirname, '../../test/durable/pure-program.ts')
  const log = join(dir, 'bodies')
  appendFileSync(log, '')
  const count = (): string[] => readFileSync(log, 'utf8').split('\n').filter(Boolean)
  const start = (): ReturnType<typeof spawn> =>
    spawn(process.execPath, ['--conditions=convoke-source', program, join(dir, 'store'), log], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
  /** How often each body ran whose end is on disk. */
  const onDisk = async (): Promise<Map<string, number>> => {
    const ledger = await openSqliteLedger({ dir: join(dir, 'store') })
    const entries = await readAll(ledger, 'local', 'run/chain')
    await ledger.close()
    const ran = count()
    const finished = entries.filter(({ record }) => record.type === 'step.completed').map(({ record }) => record.path)
    return new Map(finished.map((path = '') => [path, ran.filter((line) => line === path).length]))
  }
  let before = new Map<string, number>()
  for (let kill = 1; kill <= 5; kill++) {
    const child = start()
    const ended = once(child, 'exit')
    const goal = kill * 400
    while (new Set(count()).size < goal && child.exitCode === null) await new Promise((done) => setTimeout(done, 2))
    child.kill('SIGKILL')
    await ended
    const now = await onDisk()
    for (const [path, times] of before) expect([path, now.get(path)]).toEqual([path, times])
    before = now
    // What is lost each time is what had gathered, and what was being written.
    expect(count().length - new Set(count()).size).toBeLessThanOrEqual(kill * 2 * 256)
  }
  const last = start()
  let out = ''
  last.stdout?.on('data', (chunk: Buffer) => (out += chunk.toString()))
  await once(last, 'exit')
  expect(out.trim()).toBe(`done 3000 ${(3000 * 2999) / 2}`)
  // What stands after the pure steps has an effect, and began once they were on disk.
  expect(count().filter((line) => line === 'effect')).toHaveLength(1)
}, 60_000)
