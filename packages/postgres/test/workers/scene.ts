import { spawn, type ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { openPostgresLedger } from '@convoke/postgres'
import { convoke, type App } from 'convoke'
import { ended, sources, startOutside, type Audit, type Outside } from '../../../convoke/test/durable/outside.ts'
import { flowsFor, type Flows } from './flows.ts'

// A store, a counterpart and worker processes on them. Everything that was begun ends with `end`, also when a test fails.

export interface WorkerProcess {
  readonly pid: number
  readonly child: ChildProcess
  readonly troubles: { readonly run?: string; readonly code?: string; readonly message?: string }[]
  /** Ends it as an operator would. */
  leave(): Promise<void>
}

export interface Scene {
  readonly flows: Flows
  /** Starts runs and sends signals, and drives nothing. */
  readonly client: App
  worker(options?: { readonly leaseMs?: number; readonly url?: string }): Promise<WorkerProcess>
  audit(): Promise<Audit>
  /** Asks until the answer is there; says what it waited for, and what it saw last, when it does not come. */
  until<T>(what: string, ask: () => Promise<T | undefined | false>, ms?: number): Promise<T>
  end(): Promise<void>
}

let scenes = 0

export async function openScene(url: string): Promise<Scene> {
  const cleanups: (() => Promise<unknown>)[] = []
  const outside: Outside = await startOutside()
  cleanups.push(() => outside.close())
  const name = `scene-${++scenes}`
  const flows = flowsFor(outside.url(name))
  const client = convoke({
    store: () => openPostgresLedger({ url }),
    workflows: { hold: flows.hold, parcel: flows.parcel },
    tools: flows.tools,
    drives: false,
  })
  cleanups.push(() => client.close())
  await client.ledger()
  const program = new URL('worker.ts', import.meta.url).pathname

  return {
    flows,
    client,
    async worker({ leaseMs = 10_000, url: its = url } = {}) {
      const child = spawn(process.execPath, [...sources, program, its, outside.url(name), String(leaseMs)], {
        stdio: ['pipe', 'pipe', 'inherit'],
      })
      const leave = async (): Promise<void> => {
        child.kill('SIGCONT')
        child.stdin.end()
        const timer = setTimeout(() => child.kill('SIGKILL'), 20_000)
        await ended(child)
        clearTimeout(timer)
      }
      cleanups.push(leave)
      const troubles: WorkerProcess['troubles'] = []
      const ready = Promise.withResolvers<void>()
      createInterface(child.stdout).on('line', (line) => {
        const told = JSON.parse(line) as WorkerProcess['troubles'][number] & { ready?: number }
        if (told.ready === undefined) troubles.push(told)
        else ready.resolve()
      })
      void ended(child).then(() => ready.reject(new Error('the worker ended before it was ready')))
      await ready.promise
      return { pid: child.pid as number, child, troubles, leave }
    },
    audit: () => outside.audit(name),
    async until(what, ask, ms = 60_000) {
      for (const end = Date.now() + ms; Date.now() < end; await sleep(10)) {
        const answer = await ask()
        if (answer !== undefined && answer !== false) return answer
      }
      const rows = await client.runs({ limit: 50 })
      const states = rows.map(({ run, status, error }) => ({ run, status, ...(error === undefined ? {} : { error }) }))
      throw new Error(`waited in vain for ${what}: ${JSON.stringify(states)}`)
    },
    async end() {
      for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
    },
  }
}
