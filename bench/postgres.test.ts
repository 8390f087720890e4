/** The workloads on Postgres in their reduced size: that they work and say what was promised, never how fast they are. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { expect, test } from 'vitest'

test('each workload on Postgres gives its figures', () => {
  const { NODE_OPTIONS: _, ...env } = process.env
  const program = [
    '--conditions=convoke-source',
    join(import.meta.dirname, 'postgres.ts'),
    '--json',
    '--small',
    '--source',
  ]
  const { status, stdout, stderr } = spawnSync(process.execPath, program, { env, encoding: 'utf8' })
  expect([status, stderr]).toEqual([0, ''])
  const lines = stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as { workload: string; metric: string; value: number | null })
  expect(lines.filter(({ value }) => value === null || !Number.isFinite(value))).toEqual([])
  const given = new Set(lines.map(({ workload, metric }) => `${workload} ${metric}`))
  for (const promised of [
    'chain step_p50',
    'chain step_p99',
    'concurrent steps_per_s',
    'parked ms_to_wake_all',
    'wake ms_p50',
    'workers: 1 steps_per_s',
    'workers: 2 steps_per_s',
    'workers: 4 steps_per_s',
    'wire round_trips_per_step',
    'wire bytes_sent_per_step',
  ])
    expect(given).toContain(promised)
}, 300_000)
