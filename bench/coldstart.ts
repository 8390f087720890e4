/** A program of three steps on the built package and an empty store, from start to exit, beside a bare Node. */
import { join } from 'node:path'
import { runProgram, type Bench } from './harness.ts'
import { median } from './quantile.ts'

export async function measure(bench: Bench): Promise<void> {
  const rounds = bench.small ? 2 : 11
  const program = join(import.meta.dirname, 'programs', 'three-steps.js')
  const common = { workload: 'coldstart', system: 'convoke', size: 3 } as const
  await bench.inFolder(async (dir) => {
    const times: number[] = []
    const bare: number[] = []
    let failure: string | undefined
    // In turns, so that both meet the same load. The first round fills the caches of the disk.
    for (let round = 0; round <= rounds && failure === undefined; round++) {
      const nothing = await runProgram([process.execPath, '-e', '0'])
      const one = await runProgram([process.execPath, program, join(dir, String(round))])
      failure = one.failure
      if (round === 0) continue
      bare.push(nothing.ms)
      times.push(one.ms)
    }
    const note = `median of ${rounds}, least ${Math.min(...times).toFixed(0)}, empty store`
    if (failure !== undefined) bench.print({ ...common, metric: 'ms', value: null, unit: 'ms', note: failure })
    else {
      const value = median(times)
      const node = median(bare)
      const against = `node -e 0 (${node.toFixed(0)} ms)`
      bench.print({ ...common, metric: 'ms', value, unit: 'ms', ratio: value / node, against, note })
      bench.print({ ...common, metric: 'ms_above_node', value: value - node, unit: 'ms' })
    }
  })
}
