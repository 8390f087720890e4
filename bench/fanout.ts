/** A run that starts 100 steps at once and joins them in one more. */
import { join } from 'node:path'
import { convoke } from 'convoke'
import { fanOf } from './flows.ts'
import { report, type Bench, type Scenes } from './harness.ts'
import { median } from './quantile.ts'
import { resultOf } from './results.ts'

const rounds = 5

export async function measure(bench: Bench): Promise<void> {
  const size = bench.small ? 20 : 100
  await bench.inFolder(async (dir) => {
    const outcome = await bench.scene('fanout', 'fanout', size, dir)
    report(bench, { workload: 'fanout', size }, ['ms', 'ms'], outcome)
  })
}

export const scenes: Scenes = {
  async fanout({ dir, size }, tell) {
    const app = convoke({ store: join(dir, 'store'), workflows: { fan: fanOf((_run, i) => resultOf(i, 1024)) } })
    const fan = async (run: string): Promise<unknown> => (await app.start('fan', size, { id: run })).result()
    await fan('warm-up')
    const times: number[] = []
    for (let round = 0; round < rounds; round++) {
      const from = performance.now()
      await fan(`fan-${round}`)
      times.push(performance.now() - from)
    }
    tell({ metric: 'ms', value: median(times), unit: 'ms', note: `median of ${rounds}` })
    await app.close()
  },
}
