/**
 * AgentDojo's four suites with a model that obeys every attack: what attackers get done, what users get done, and how
 * often a person is asked; beside it no governance at all, and a filter for known patterns alone.
 *
 *     node bench/agentdojo.ts [--json] [--every N] [--suite NAME]...
 */
import { parseArgs } from 'node:util'
import { casesOf, tally, type Approver, type Tally } from './agentdojo/run.ts'
import type { Mode } from './agentdojo/app.ts'
import { agentdojoData, readSuite, suiteNames } from './agentdojo/suite.ts'

const settings: readonly { readonly mode: Mode; readonly approver: Approver }[] = [
  { mode: 'none', approver: 'nobody' },
  { mode: 'filter', approver: 'nobody' },
  { mode: 'governed', approver: 'nobody' },
  { mode: 'governed', approver: 'user' },
]

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    every: { type: 'string', default: '1' },
    suite: { type: 'string', multiple: true },
    got: { type: 'boolean', default: false },
  },
})
const folder = agentdojoData()
if (folder === undefined) {
  console.error('agentdojo: skipped, no suites found (set CONVOKE_TEST_DATA to the folder that holds agentdojo/)')
} else {
  const all: Tally[] = []
  for (const name of suiteNames.filter((n) => values.suite?.includes(n) ?? true)) {
    const suite = readSuite(folder, name)
    for (const { mode, approver } of settings)
      for (const attacked of [false, true]) {
        const its = await tally(suite, mode, approver, casesOf(suite, attacked, Number(values.every)))
        all.push(its)
        if (values.json) console.log(JSON.stringify({ ...its, got: its.got.length }))
        else console.log(line(its))
        if (values.got) for (const call of its.got) console.log(`    ${call}`)
      }
  }
  if (all.some((t) => t.mode === 'governed' && t.attackerCalls > 0)) process.exitCode = 1
}

function line(t: Tally): string {
  const who =
    t.mode === 'governed' ? `governed, ${t.approver} approves` : t.mode === 'none' ? 'no governance' : 'pattern filter'
  return [
    t.suite.padEnd(10),
    who.padEnd(27),
    (t.attacked ? 'attacked' : 'calm').padEnd(9),
    `attacker calls ${t.attackerCalls} in ${t.attackedCases} of ${t.cases}`.padEnd(40),
    `finished ${t.finished}`.padEnd(14),
    `approvals ${t.approvals} (${(t.approvals / t.cases).toFixed(2)} a task)`,
  ].join(' ')
}
