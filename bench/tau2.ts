/**
 * tau2's 114 retail tasks: undisturbed with and without approval of each write, then each of them killed right before
 * and right after every call.
 *
 *     node bench/tau2.ts [--json] [--task ID]... [--calm] [--every N] [--jobs N]
 */
import { parseArgs } from 'node:util'
import { crashTask, replayAll } from './tau2/replay.ts'
import { readTasks, retailData } from './tau2/suite.ts'

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    task: { type: 'string', multiple: true },
    calm: { type: 'boolean', default: false },
    every: { type: 'string', default: '1' },
    jobs: { type: 'string', default: '2' },
  },
})
const data = retailData()
const tell = (figures: object): void =>
  console.log(
    values.json
      ? JSON.stringify(figures)
      : Object.entries(figures)
          .map(([k, v]) => `${k} ${String(v)}`)
          .join('  '),
  )
if (data === undefined) {
  console.error('tau2: skipped, no retail tasks found (set CONVOKE_TEST_DATA to the folder that holds tau2-retail/)')
} else {
  for (const approve of [false, true]) tell({ approve, ...(await replayAll(data, approve)) })
  const total = { tasks: 0, cases: 0, killed: 0, failures: 0 }
  if (!values.calm)
    for (const { id, steps } of readTasks(data)) {
      if (steps.length === 0 || values.task?.includes(id) === false) continue
      const { cases, killed, failures } = await crashTask(data, id, Number(values.every), Number(values.jobs))
      total.tasks++
      total.cases += cases
      total.killed += killed
      total.failures += failures.length
      console.error(`task ${id}: ${cases} cases, ${killed} killed, ${failures.length} failures; ${total.cases} in all`)
      for (const failure of failures)
        console.error(`task ${id}, ${failure.point}#${failure.occurrence}: ${failure.why}`)
    }
  tell(total)
  if (total.failures > 0) process.exitCode = 1
}
