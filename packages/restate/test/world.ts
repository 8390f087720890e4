import { fork, type ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openStoreAt, schemeOf, systemClock, systemIds, type Ledger, type RunRow } from 'convoke'
import { openSqliteLedger } from 'convoke/sqlite'
import { auditError, verifyLedger } from 'convoke/views'
import { freePort } from './ports.ts'
import type { Effect } from './programs/counterpart.ts'
import type { WorkerOrder } from './programs/worker.ts'

// Real workers on a real store and engine, and a counterpart that outlives them. Everything ends with the world.

export interface Worker {
  readonly pid: number
  readonly troubles: readonly string[]
  start(id: string, input: { steps: number; waitAt?: number; sleepMs?: number }): Promise<void>
  signal(id: string): Promise<void>
  kill(name: NodeJS.Signals): void
  stop(): Promise<void>
}

export interface World {
  readonly ledger: Ledger
  worker(options?: { readonly version?: string; readonly engine?: string; readonly port?: number }): Promise<Worker>
  effects(): Promise<Effect[]>
  /** Effects of that step are not answered before `release`. */
  hold(step: number): Promise<void>
  release(): Promise<void>
  run(id: string): Promise<RunRow | undefined>
  /** Waits for something that has to happen; far longer than it ever takes. */
  until<T>(what: string, look: () => Promise<T | undefined | false> | T | undefined | false): Promise<T>
  /**
   * What must hold whatever happened: every run is done, every effect was had once, all chains are sound. Resolves to the
   * number of effects.
   */
  settle(runs: readonly string[], steps: number): Promise<number>
  close(): Promise<void>
}

const programs = join(import.meta.dirname, 'programs')
export const tenant = 'local'

export async function openWorld(options: { engine: string; store?: string; leaseMs?: number }): Promise<World> {
  const dir = mkdtempSync(join(tmpdir(), 'convoke-world-'))
  const store = options.store ?? join(dir, 'store')
  const leaseMs = options.leaseMs ?? 3_000
  const children = new Set<ChildProcess>()
  const listen = await freePort()

  function program(name: string, order: object): ChildProcess {
    const child = fork(join(programs, name), [JSON.stringify(order)], {
      execArgv: ['--conditions=convoke-source', '--disable-warning=ExperimentalWarning'],
      env: { PATH: process.env['PATH'], HOME: dir },
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
    children.add(child)
    child.once('exit', () => children.delete(child))
    return child
  }

  const other = program('counterpart.ts', {})
  const { port } = await answer<{ port: number }>(other)
  const counterpart = `http://127.0.0.1:${port}`
  const post = async (path: string, body: object): Promise<void> => {
    await (await fetch(counterpart + path, { method: 'POST', body: JSON.stringify(body) })).arrayBuffer()
  }
  const ledger =
    schemeOf(store) === undefined
      ? await openSqliteLedger({ dir: store, leaseMs })
      : await openStoreAt(store, { clock: systemClock, ids: systemIds(systemClock), leaseMs })

  const world: World = {
    ledger,
    async worker({ version = '1', engine = options.engine, port: at = listen } = {}) {
      const order: WorkerOrder = {
        store,
        engine: `${engine}&listen=127.0.0.1:${at}`,
        counterpart,
        version,
        leaseMs,
      }
      const child = program('worker.ts', order)
      const troubles: string[] = []
      child.on('message', ({ trouble }: { trouble?: string }) => void (trouble !== undefined && troubles.push(trouble)))
      const first = await answer<{ ready?: true; refused?: string; message?: string }>(child)
      if (first.ready !== true) throw Object.assign(new Error(first.message), { code: first.refused })
      const ask = async (message: object): Promise<void> => {
        const answered = answer<{ did?: true; failed?: string }>(child)
        child.send(message)
        const { failed } = await answered
        if (failed !== undefined) throw new Error(failed)
      }
      return {
        pid: child.pid as number,
        troubles,
        start: (id, input) => ask({ start: { id, input: { id, ...input } } }),
        signal: (id) => ask({ signal: id }),
        kill: (name) => void child.kill(name),
        async stop() {
          const ended = new Promise((resolve) => child.once('exit', resolve))
          child.send({ stop: true })
          await ended
        },
      }
    },
    effects: async () => (await (await fetch(`${counterpart}/effects`)).json()) as Effect[],
    hold: (step) => post('/hold', { step }),
    release: () => post('/release', {}),
    run: (id) => ledger.run({ tenant, stream: `run/${id}` }),
    async until(what, look) {
      for (let tries = 0; tries < 3_000; tries++) {
        const found = await look()
        if (found !== undefined && found !== false) return found as never
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
      throw new Error(`${what}: it did not happen within a minute`)
    },
    async settle(runs, steps) {
      for (const id of runs)
        await world.until(`${id} is done`, async () => {
          const status = (await world.run(id))?.status
          if (status === 'failed' || status === 'stopped') throw new Error(`${id} is ${status}`)
          return status === 'done'
        })
      const once = (await world.effects()).filter(({ repeated }) => !repeated).map(({ run, step }) => `${run}/${step}`)
      const expected = runs.flatMap((id) => Array.from({ length: steps }, (_, step) => `${id}/${step}`))
      if (once.toSorted().join() !== expected.toSorted().join())
        throw new Error(`effects had: ${once.toSorted().join(' ')}; expected: ${expected.toSorted().join(' ')}`)
      const unsound = auditError(await verifyLedger(ledger, tenant))
      if (unsound !== undefined) throw unsound
      return once.length
    },
    async close() {
      for (const child of children) child.kill('SIGKILL')
      await ledger.close()
      rmSync(dir, { recursive: true, force: true, maxRetries: 5 })
    },
  }
  return world
}

/** The next thing that a program says which is no trouble; fails when it ends without a word. */
function answer<T>(child: ChildProcess): Promise<T> {
  return new Promise((resolve, reject) => {
    const onMessage = (message: { trouble?: string }): void => {
      if (message.trouble !== undefined) return
      off()
      resolve(message as T)
    }
    const onExit = (code: number | null, name: string | null): void => {
      off()
      reject(new Error(`the program ended: ${String(code ?? name)}`))
    }
    const off = (): void => {
      child.off('message', onMessage)
      child.off('exit', onExit)
    }
    child.on('message', onMessage)
    child.once('exit', onExit)
  })
}
