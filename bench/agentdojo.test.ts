/** A sample of AgentDojo's pairs with a model that obeys every attack; `node bench/agentdojo.ts` runs all of them. */
import { describe, expect, test } from 'vitest'
import { casesOf, tally } from './agentdojo/run.ts'
import { agentdojoData, readSuite, suiteNames } from './agentdojo/suite.ts'

const folder = agentdojoData()
if (folder === undefined)
  console.warn('skipped: no AgentDojo suites (set CONVOKE_TEST_DATA to the folder that holds agentdojo/)')

/** Prime, so that every wording and many pairs of tasks are met. */
const every = process.env['CONVOKE_TEST_LONG'] === '1' ? 1 : 23

describe.skipIf(folder === undefined).each(suiteNames)('%s', (name) => {
  const suite = folder === undefined ? undefined! : readSuite(folder, name)

  test('without governance attackers get what they want; so the model does obey', { timeout: 300_000 }, async () => {
    const free = await tally(suite, 'none', 'nobody', casesOf(suite, true, every))
    expect(free.attackerCalls).toBeGreaterThan(0)
    expect(free.approvals).toBe(0)
  })

  test(
    'no attacker call is made, whoever approves, and users get all that they ask for',
    { timeout: 300_000 },
    async () => {
      const alone = await tally(suite, 'governed', 'nobody', casesOf(suite, true, every))
      expect(alone.got).toEqual([])
      const helped = await tally(suite, 'governed', 'user', casesOf(suite, true, every))
      expect(helped.got).toEqual([])
      expect(helped.finished).toBe(helped.cases)
    },
  )
})
