/** All retail tasks undisturbed, and two of them killed at their calls; `node bench/tau2.ts` kills all of them. */
import { describe, expect, test } from 'vitest'
import { crashTask, replayAll } from './tau2/replay.ts'
import { goldWrites, readTasks, retailData } from './tau2/suite.ts'

const data = retailData()
if (data === undefined)
  console.warn('skipped: no retail tasks (set CONVOKE_TEST_DATA to the folder that holds tau2-retail/)')

describe.skipIf(data === undefined)('tau2 retail', () => {
  const folder = data ?? ''

  test(
    'every write is the recorded one, approved each when the policy says so; the 18 errors are answers',
    { timeout: 300_000 },
    async () => {
      const gold = readTasks(folder).flatMap(goldWrites).length
      const free = await replayAll(folder, false)
      expect(free).toMatchObject({ tasks: 114, exact: 114, writes: gold, approvals: 0, errors: 18 })
      const asked = await replayAll(folder, true)
      expect(asked).toMatchObject({ tasks: 114, exact: 114, writes: gold, errors: 18 })
      expect(asked.approvals).toBe(asked.tried)
    },
  )

  test(
    'R1 R4 R5: killed around a call, the writes are the recorded ones, each once',
    { timeout: 300_000 },
    async () => {
      const long = process.env['CONVOKE_TEST_LONG'] === '1'
      for (const id of long ? ['0', '4', '20', '34'] : ['0']) {
        const report = await crashTask(folder, id, long ? 1 : 3)
        expect(report.failures).toEqual([])
        expect(report.killed).toBeGreaterThan(2)
      }
    },
  )
})
