/**
 * Two processes on one store: one holds parked runs, the other signals them one by one. How long from the sender's call
 * to the first line of the woken run, while the store is idle and while the first process is busy with other runs.
 */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { convoke } from 'convoke'
import { chainOf, go, waitOf } from './flows.ts'
import { type Bench, type Figure, type Scenes } from './harness.ts'
import { quantile } from './quantile.ts'
import { resultOf } from './results.ts'

/** Milliseconds on the clock that all processes of a machine share. */
function now(): number {
  return Number(process.hrtime.bigint()) / 1e6
}

export async function measure(bench: Bench): Promise<void> {
  const size = bench.small ? 5 : 100
  for (const load of ['idle', 'load'] as const)
    await bench.inFolder(async (dir) => {
      const latencies: number[] = []
      let sender: Promise<{ readonly failure?: string }> | undefined
      const onFigure = ({ metric, value }: Figure): void => {
        if (metric === 'parked') sender = bench.scene('wake', 'send', size, dir)
        if (metric === 'woken') latencies.push(value as number)
      }
      const holder = await bench.scene('wake', load, size, dir, { onFigure })
      const failure = holder.failure ?? (await sender)?.failure
      for (const [name, share] of [
        ['p50', 0.5],
        ['p95', 0.95],
      ] as const)
        bench.print({
          workload: 'wake',
          system: 'convoke',
          size,
          metric: `${load}_${name}_ms`,
          value: failure === undefined ? quantile(latencies, share) : null,
          unit: 'ms',
          ...(failure === undefined ? {} : { note: failure }),
        })
    })
}

function hold(busy: boolean): Scenes[string] {
  return async ({ dir, size }, tell) => {
    const wait = waitOf(
      () => resultOf(0, 1024),
      (sent) => tell({ metric: 'woken', value: now() - sent, unit: 'ms' }),
    )
    const chain = chainOf((_run, i) => resultOf(i, 1024))
    const app = convoke({ store: join(dir, 'store'), workflows: { wait, chain } })
    const runs = Array.from({ length: size }, (_, i) => `run-${i}`)
    const handles = await Promise.all(runs.map(async (run) => await app.start(wait, null, { id: run })))
    await Promise.all(handles.map(async (handle) => await handle.settled()))
    let ended = false
    const lanes = Array.from({ length: busy ? 20 : 0 }, async (_, lane) => {
      for (let n = 0; !ended; n++) await (await app.start(chain, 10, { id: `busy-${lane}-${n}` })).result()
    })
    tell({ metric: 'parked', value: size, unit: 'runs' })
    await Promise.all(handles.map(async (handle) => await handle.result()))
    ended = true
    await Promise.all(lanes)
    await app.close()
  }
}

export const scenes: Scenes = {
  idle: hold(false),
  load: hold(true),

  async send({ dir, size }) {
    const app = convoke({ store: join(dir, 'store'), workflows: {}, drives: false })
    for (let i = 0; i < size; i++) {
      const handle = await app.run(`run-${i}`)
      await sleep(50)
      await handle.signal(go, { sent: now() })
    }
    await app.close()
  },
}
