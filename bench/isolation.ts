/**
 * What it costs to run a tool's code apart, and what it saves: a call's time inline, in a thread and in a process of its
 * own, one after the other and four at once; and how long everything else stands still while a tool computes.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { convoke, tool, workflow, type Tool } from 'convoke'
import { isolated } from 'convoke/isolate'
import { z } from 'zod'
import { report, type Bench, type Scenes } from './harness.ts'
import { median } from './quantile.ts'

const ways = ['inline', 'worker', 'process'] as const
type Way = (typeof ways)[number]

export async function measure(bench: Bench): Promise<void> {
  const size = bench.small ? 3 : 40
  await bench.inFolder(async (dir) => {
    const outcome = await bench.scene('isolation', 'calls', size, dir)
    report(bench, { workload: 'isolation', size }, ['process_call_ms', 'ms'], outcome)
  })
}

const module = new URL('./isolation-tool.js', import.meta.url)

function toolOf(name: string, exported: string, way: Way): Tool<{ n: number }, number> {
  return tool({
    name,
    description: 'computes',
    effect: 'read',
    inputSchema: z.object({ n: z.number() }),
    outputSchema: z.number(),
    transport: isolated({ module, export: exported, isolation: way }),
  })
}

/** Milliseconds that the tool computes for. */
const busyMs = 300

export const scenes: Scenes = {
  async calls({ dir, size }, tell) {
    const tools = Object.fromEntries(
      ways.map((way) => [way, { add: toolOf(`add-${way}`, 'add', way), busy: toolOf(`busy-${way}`, 'busy', way) }]),
    ) as Record<Way, Record<'add' | 'busy', Tool<{ n: number }, number>>>
    const times: number[] = []
    const flow = workflow(
      {
        name: 'flow',
        input: z.object({ way: z.enum(ways), what: z.enum(['row', 'four', 'busy']) }),
        output: z.number(),
      },
      async (run, { way, what }) => {
        const { add, busy } = tools[way]
        if (what === 'busy') return run.call(busy, { n: busyMs })
        for (let i = 0; i < size; i++) {
          const before = performance.now()
          if (what === 'row') await run.call(add, { n: i }, { name: `s${i}` })
          else
            await run.all(`s${i}`, {
              a: (r) => r.call(add, { n: 1 }),
              b: (r) => r.call(add, { n: 2 }),
              c: (r) => r.call(add, { n: 3 }),
              d: (r) => r.call(add, { n: 4 }),
            })
          times.push(performance.now() - before)
        }
        return size
      },
    )
    const app = convoke({ store: join(dir, 'store'), durability: 'process-crash-only', workflows: { flow } })
    const drive = async (way: Way, what: 'row' | 'four' | 'busy'): Promise<number[]> => {
      times.length = 0
      await (await app.start(flow, { way, what }, { id: `${way}-${what}` })).result()
      return [...times].sort((a, b) => a - b)
    }
    await (await app.start(flow, { way: 'inline' as const, what: 'row' as const }, { id: 'warm' })).result()
    for (const way of ways) {
      const row = await drive(way, 'row')
      const note = way === 'inline' ? 'with its record' : 'with its record; starts, answers, is ended'
      tell({ metric: `${way}_call_ms`, value: median(row), unit: 'ms', note })
      tell({ metric: `${way}_call_p95_ms`, value: row[Math.floor(row.length * 0.95)] ?? null, unit: 'ms' })
      const four = await drive(way, 'four')
      tell({ metric: `${way}_calls_per_s`, value: (4 * 1000) / median(four), unit: '1/s', note: 'four at once' })
    }
    for (const way of ways) {
      const delay = monitorEventLoopDelay({ resolution: 5 })
      delay.enable()
      // It notices what stands still between two of its ticks.
      await sleep(50)
      await drive(way, 'busy')
      await sleep(50)
      delay.disable()
      const note = `the longest that other runs stood still while a tool computed for ${busyMs} ms`
      tell({ metric: `${way}_stall_ms`, value: delay.max / 1e6, unit: 'ms', note })
    }
    await app.close()
  },
}
