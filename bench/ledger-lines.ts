/** Takes what ledger.ts says of itself into the common lines. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import type { Bench } from './harness.ts'
import type { Measure } from './report.ts'

export async function measureLedger(bench: Bench): Promise<void> {
  const { NODE_OPTIONS: _, ...env } = process.env
  const args = [join(import.meta.dirname, 'ledger.ts'), '--json', ...(bench.small ? ['--small'] : [])]
  const conditions = bench.source ? ['--conditions=convoke-source'] : []
  const { stdout, stderr, status } = spawnSync(process.execPath, [...conditions, ...args], { env, encoding: 'utf8' })
  const common = { workload: 'ledger', system: 'convoke' } as const
  const lines = stdout.split('\n').filter(Boolean)
  for (const line of lines) bench.print({ ...common, ...(JSON.parse(line) as Omit<Measure, 'workload' | 'system'>) })
  if (status !== 0 || lines.length === 0)
    bench.print({ ...common, metric: '500 appenders', value: null, unit: 'records/s', note: stderr.trim().slice(-200) })
}
