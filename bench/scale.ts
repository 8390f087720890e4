/**
 * A cluster on paper: what Postgres and our ledger on it cost here, whether the simulation is right about it, and what it
 * says of a thousand workers. docs/scale.md reads the figures. `measured` and `simulated` are different systems in the
 * lines, so that no simulated figure can pass for a measured one.
 */
import type { Bench, Figure, Scenes } from './harness.ts'
import type { Calibrated } from './scale/calibrate.ts'
import { documented } from './scale/params.ts'
import { assumedPrices, costOf } from './scale/cost.ts'
import { footprintOf, simulatePlan } from './scale/plan.ts'

/** Of a step with a payload of 1 KB, measured on 2026-11-21; where there is no Postgres to measure. */
const storedBytes = 1_433

export const scenes: Scenes = {
  async calibrate({ small }, tell) {
    const { calibrate } = await import('./scale/calibrate.ts')
    const { costs, connectionMb, ...rest } = await calibrate(small)
    for (const [name, value] of Object.entries({ ...rest, ...costs }))
      tell({ metric: name, value, unit: name.includes('ytes') ? 'bytes' : 'ms' })
    if (connectionMb !== undefined) tell({ metric: 'connectionMb', value: connectionMb, unit: 'MB' })
  },
  async appender(order, tell) {
    const { appender } = await import('./scale/validate.ts')
    await appender(order, tell)
  },
}

export async function measure(bench: Bench): Promise<void> {
  const common = { workload: 'scale' } as const
  const calibrated = await calibration(bench)
  if (calibrated !== undefined) {
    const { validate } = await import('./scale/validate.ts')
    for (const { workers, runs, measured, simulated, cores, flushMs } of await validate(bench, calibrated)) {
      const what = `${workers} workers × ${runs} runs`
      const note = `${cores.toFixed(1)} cores left by others, sync ${flushMs.toFixed(2)} ms`
      const pairs = [
        ['steps_per_s', 'steps/s', measured.stepsPerS, simulated.stepsPerS],
        ['p50', 'ms', measured.p50, simulated.stepP50],
        ['p99', 'ms', measured.p99, simulated.stepP99],
      ] as const
      for (const [name, unit, real, told] of pairs) {
        const metric = `${name}, ${what}`
        const size = workers * runs
        bench.print({ ...common, system: 'measured', metric, value: real, unit, size, note })
        bench.print({
          ...common,
          system: 'simulated',
          metric,
          value: told,
          unit,
          size,
          ratio: told / real,
          against: 'measured',
        })
      }
    }
  }
  const cases = simulatePlan(calibrated ?? documented, bench.small)
  for (const one of cases) {
    const { layout, workers, runs, shards, result } = one
    const what = `${layout}: ${workers} workers, ${shards} shards`
    const tell = (metric: string, value: number, unit: string, note?: string): void =>
      bench.print({
        ...common,
        system: 'simulated',
        metric: `${metric}, ${what}`,
        value: Number.isFinite(value) ? value : null,
        unit,
        size: runs,
        ...(note === undefined ? {} : { note }),
      })
    const busiest = result.resources
      .toSorted((one, other) => other.utilisation - one.utilisation)
      .slice(0, 4)
      .map(({ name, utilisation }) => `${name} ${Math.round(utilisation * 100)} %`)
    tell(
      'steps_per_s',
      result.stepsPerS * shards,
      'steps/s',
      `${result.saturated ?? 'nothing'} saturated; ${busiest.join(', ')}`,
    )
    tell('p50', result.stepP50, 'ms')
    tell('p99', result.stepP99, 'ms')
    tell('wake_p99', result.wakeP99, 'ms')
    tell('database_ms_per_step', result.databaseMsPerStep, 'ms', `${result.stepsPerGroup.toFixed(1)} a group`)
    tell('commits_per_sync', result.commitsPerFlush, '', `log syncs ${Math.round(result.logBusy * 100)} % of the time`)
    tell('log_bytes_per_s', result.logBytesPerS * shards, 'bytes/s')
    if (result.saturated !== undefined) continue
    const { total, ...parts } = costOf(footprintOf(one, calibrated?.storedBytesPerStep ?? storedBytes), assumedPrices)
    const shown = Object.entries(parts).map(([part, value]) => `${part} ${value.toFixed(3)}`)
    tell('per_million_steps', total, assumedPrices.currency, `assumed prices; ${shown.join(', ')}`)
  }
}

/** In a process of its own; nothing where Postgres cannot be started, and the documented figures serve. */
async function calibration(bench: Bench): Promise<Calibrated | undefined> {
  const outcome = await bench.inFolder((dir) => bench.scene('scale', 'calibrate', 0, dir))
  const common = { workload: 'scale', system: 'measured' } as const
  for (const figure of outcome.figures) bench.print({ ...common, ...figure })
  if (outcome.failure !== undefined) {
    bench.print({ ...common, metric: 'appendMs', value: null, unit: 'ms', note: outcome.failure })
    return undefined
  }
  return calibratedOf(outcome.figures)
}

function calibratedOf(figures: readonly Figure[]): Calibrated {
  const values = new Map(figures.map(({ metric, value }) => [metric, value]))
  const known = (name: string): number => {
    const value = values.get(name)
    if (typeof value !== 'number') throw new Error(`the calibration gave no ${name}`)
    return value
  }
  const all = <K extends string>(names: readonly K[]): Record<K, number> =>
    Object.fromEntries(names.map((name) => [name, known(name)])) as Record<K, number>
  return {
    costs: all(Object.keys(documented.costs) as (keyof typeof documented.costs)[]),
    ...all(['flushMs', 'flushMsPerKb', 'walBytesPerStep', 'walBytesPerWrite', 'stepCpuMs', 'callCpuMs', 'queryCpuMs']),
    ...all(['storedBytesPerStep', 'roundTripMs']),
    connectionMb: values.get('connectionMb') ?? undefined,
  }
}
