/**
 * Every workload once in its reduced size: that it works, that each line has its shape, and that what was promised is
 * measured. Never how fast it is. Cold start and install look at the built package (a test run builds first).
 */
import { spawnSync } from 'node:child_process'
import { join, resolve } from 'node:path'
import { expect, test } from 'vitest'
import { OWN_WORKLOADS, WORKLOADS, table, type Measure } from './report.ts'

const root = resolve(import.meta.dirname, '..')

function bench(...args: string[]): {
  readonly status: number | null
  readonly stderr: string
  readonly lines: Measure[]
} {
  const { NODE_OPTIONS: _, ...env } = process.env
  const program = ['--conditions=convoke-source', join(root, 'bench', 'run.ts'), '--json', '--small', '--source']
  const { status, stdout, stderr } = spawnSync(process.execPath, [...program, ...args], {
    cwd: root,
    env,
    encoding: 'utf8',
  })
  const lines = stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Measure)
  return { status, stderr, lines }
}

/** What each workload must give a figure for. */
const promised: Readonly<Record<(typeof WORKLOADS)[number] | (typeof OWN_WORKLOADS)[number], readonly string[]>> = {
  chain: ['steps_per_s', 'computed_steps_per_s', 'last100_over_first100', 'peak_mb'],
  conversation: ['disk_over_content', 'turn500_over_turn10'],
  concurrent: ['steps_per_s', 'steps_per_s_warm', 'steps_per_s_steady', 'peak_mb'],
  fanout: ['ms'],
  recovery: ['ms_to_first_new_step', 'ms_to_replay'],
  parked: ['mb_above_idle', 'heap_mb_above_idle', 'mb_of_a_worker_above_idle', 'ms_to_park_all', 'ms_to_wake_all'],
  coldstart: ['ms'],
  install: ['packages', 'mb'],
  wake: ['idle_p50_ms', 'idle_p95_ms', 'load_p50_ms', 'load_p95_ms'],
  ledger: ['500 appenders', 'chain of appends'],
  scale: ['appendMs', 'flushMs', 'steps_per_s, cells: 1000 workers, 32 shards'],
  gateway: ['read_call_us', 'keyed_call_us', 'fetch_us'],
  // Its documents are 800 MB and not installed here; then it says so.
  specs: [],
  isolation: ['inline_call_ms', 'worker_call_ms', 'process_call_ms', 'inline_stall_ms', 'process_stall_ms'],
  growth: ['append', 'replay_100', 'runs_newest', 'runs_tag', 'approvals_open', 'ready', 'next_due'],
}

for (const workload of [...WORKLOADS, ...OWN_WORKLOADS])
  test(
    `${workload} gives its figures, one object a line, beside the machine's own limits`,
    { timeout: 240_000 },
    () => {
      const { status, stderr, lines } = bench('--only', workload)
      expect(stderr).toBe('')
      expect(status).toBe(0)
      expect(new Set(lines.map((line) => line.workload))).toEqual(new Set(['limits', workload]))
      for (const line of lines) {
        expect(line).toMatchObject({ system: expect.any(String), metric: expect.any(String), unit: expect.any(String) })
        if (line.ratio !== undefined) expect(line.against).toEqual(expect.any(String))
      }
      for (const metric of promised[workload]) {
        const values = lines.filter((line) => line.metric === metric)
        expect(values, metric).not.toEqual([])
        for (const { value, note } of values) expect(value, `${metric}: ${String(note)}`).toBeTypeOf('number')
      }
      expect(table(lines)).toContain(workload)
    },
  )

test('no step that was finished before a kill runs again (R1)', { timeout: 240_000 }, () => {
  const { lines } = bench('--only', 'recovery')
  const first = lines.find((line) => line.metric === 'ms_to_first_new_step')
  expect(first?.value).toBeTypeOf('number')
  expect(first?.note).toBeUndefined()
})

test('an unknown workload is refused with the names that there are', () => {
  const { status, stderr, lines } = bench('--only', 'chian')
  expect(status).toBe(2)
  expect(lines).toEqual([])
  expect(stderr).toContain('chain, conversation')
})
