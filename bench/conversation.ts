/**
 * 500 turns of a question and an answer of 2 KB each, with the history at hand: the bytes that end on disk for each
 * byte said, and whether a late turn costs more than an early one.
 */
import { join } from 'node:path'
import { convoke, workflow } from 'convoke'
import { bytesOf, report, type Bench, type Scenes } from './harness.ts'
import { median } from './quantile.ts'
import { resultOf } from './results.ts'

const warmup = 20
/** Two messages a turn. */
const turnBytes = 2 * 2048

export async function measure(bench: Bench): Promise<void> {
  const size = bench.small ? 30 : 500
  await bench.inFolder(async (dir) => {
    const { figures, ...rest } = await bench.scene('conversation', 'talk', size, dir)
    const bytes = bytesOf(join(dir, 'store'))
    const disk = [
      { metric: 'bytes_on_disk', value: bytes, unit: 'bytes' },
      { metric: 'disk_over_content', value: bytes / (turnBytes * (size + warmup)), unit: 'ratio' },
    ]
    const outcome = { ...rest, figures: rest.failure === undefined ? [...figures, ...disk] : figures }
    report(bench, { workload: 'conversation', size }, ['disk_over_content', 'ratio'], outcome)
  })
}

export const scenes: Scenes = {
  async talk({ dir, size }, tell) {
    const at: number[] = []
    for (let i = 0; i < 2 * size; i++) resultOf(i, 2048)
    const talk = workflow({ name: 'talk' }, async (run, turns) => {
      const history: unknown[] = []
      for (let turn = 0; turn < (turns as number); turn++) {
        history.push(
          await run.step(`q${turn}`, () => {
            at[turn] = performance.now()
            return resultOf(2 * turn, 2048)
          }),
        )
        history.push(await run.step(`a${turn}`, () => resultOf(2 * turn + 1, 2048)))
      }
    })
    const app = convoke({ store: join(dir, 'store'), workflows: { talk } })
    await (await app.start(talk, warmup)).result()
    await (await app.start(talk, size)).result()
    at[size] = performance.now()
    // Single turns are noisy on a busy machine: the median of the five around each.
    const turn = (n: number): number =>
      median([-2, -1, 0, 1, 2].map((by) => Math.min(size, n + by)).map((n) => (at[n] ?? NaN) - (at[n - 1] ?? NaN)))
    const value = turn(size - 2) / turn(Math.min(10, Math.floor(size / 2)))
    tell({ metric: 'turn500_over_turn10', value, unit: 'ratio' })
    tell({ metric: 'total_ms', value: (at[size] ?? NaN) - (at[0] ?? NaN), unit: 'ms' })
    await app.close()
  },
}
