/** openworkflow with its SQLite backend, as it comes: `node:sqlite`, WAL, the build's default `synchronous` (FULL). */
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { OpenWorkflow } from 'openworkflow'
import { BackendSqlite } from 'openworkflow/sqlite'
import { type Body, type Engine, type Order, serve } from './lib.ts'

/**
 * Runs at once in the one worker. Each idle slot costs a query at every poll, so it gets many only where many runs are
 * meant to go at once; with fewer slots than runs it sleeps up to a second between two rounds of claims.
 */
function slots(workload: string): number {
  return workload === 'concurrent' || workload === 'parked' ? 500 : 1
}

const peer = {
  cannot(_system: string, workload: string, size: number): string | undefined {
    const long = size > 1000 && (workload === 'chain' || workload === 'recovery')
    return long ? 'a run may have 1,000 steps at most (its fixed limit)' : undefined
  },

  async open({ workload, dir }: Order, body: Body): Promise<Engine> {
    const file = join(dir, 'openworkflow.db')
    const backend = BackendSqlite.connect(file)
    const ow = new OpenWorkflow({ backend })
    // Resolved inside the workflow's last line: a handle's own result() polls once a second.
    const ends = new Map<string, PromiseWithResolvers<void>>()
    const end = (run: string): PromiseWithResolvers<void> => {
      const known = ends.get(run) ?? Promise.withResolvers<void>()
      ends.set(run, known)
      return known
    }
    let onTurn: (turn: number) => void = () => undefined
    let messages = 0

    type Input = { run: string; size: number }
    const chain = ow.defineWorkflow<Input, void>({ name: 'chain' }, async ({ input, step }) => {
      for (let i = 0; i < input.size; i++) await step.run({ name: `s${i}` }, () => body(input.run, i))
      end(input.run).resolve()
    })
    const talk = ow.defineWorkflow<Input, void>({ name: 'talk' }, async ({ input, step }) => {
      const history: unknown[] = []
      for (let turn = 0; turn < input.size; turn++) {
        onTurn(turn)
        history.push(await step.run({ name: `q${turn}` }, () => body(input.run, 2 * turn)))
        history.push(await step.run({ name: `a${turn}` }, () => body(input.run, 2 * turn + 1)))
      }
      messages = history.length
      end(input.run).resolve()
    })
    const fan = ow.defineWorkflow<Input, void>({ name: 'fan' }, async ({ input, step }) => {
      const branches = Array.from({ length: input.size }, (_, i) => i)
      await Promise.all(branches.map((i) => step.run({ name: `b${i}` }, () => body(input.run, i))))
      await step.run({ name: 'join' }, () => body(input.run, input.size))
      end(input.run).resolve()
    })
    const wait = ow.defineWorkflow<Input, void>({ name: 'wait' }, async ({ input, step }) => {
      await step.waitForSignal({ signal: `go-${input.run}`, timeout: '1d' })
      await step.run({ name: 'after' }, () => body(input.run, 0))
      end(input.run).resolve()
    })
    const worker = ow.newWorker({ concurrency: slots(workload) })
    await worker.start()

    return {
      async chain(run, size) {
        await chain.run({ run, size })
        await end(run).promise
      },
      async resume(run) {
        await end(run).promise
      },
      async converse(run, size, before) {
        onTurn = before
        await talk.run({ run, size })
        await end(run).promise
        return messages
      },
      async fanout(run, size) {
        await fan.run({ run, size })
        await end(run).promise
      },
      async park(runs) {
        for (const run of runs) await wait.run({ run, size: 0 })
        // A run that waits has given its worker back; the client offers no way to ask for that.
        const reader = new DatabaseSync(file, { readOnly: true })
        const waiting = reader.prepare(
          "SELECT count(*) n FROM workflow_runs WHERE status='running' AND worker_id IS NULL",
        )
        while (waiting.get()?.['n'] !== runs.length) await sleep(20)
        reader.close()
      },
      async wake(runs) {
        for (const run of runs) await ow.sendSignal({ signal: `go-${run}` })
        await Promise.all(runs.map((run) => end(run).promise))
      },
      async durability() {
        // The backend sets no level and keeps its connection to itself: a second one has the same build's default.
        const reader = new DatabaseSync(file, { readOnly: true })
        const level = reader.prepare('PRAGMA synchronous').get()?.['synchronous']
        reader.close()
        return `node:sqlite, WAL, synchronous=${String(level)}`
      },
      async close() {
        await worker.stop()
        await backend.stop()
      },
    }
  },
}

await serve(peer)
