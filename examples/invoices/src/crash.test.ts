import { rm } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { casesOf, inboxOf, runCase, runRandom, truthOf, type CaseResult } from './crash-matrix.ts'
import { routes } from './routes.ts'

// The whole matrix is `npm run crash -- --all`; this is its first, middle and last occurrences, and some kills from
// outside, with one invoice of each route. What is held against the truth comes from the ERP's own audit.

const jobs = 2

async function runAll(work: readonly (() => Promise<CaseResult>)[]): Promise<CaseResult[]> {
  const results: CaseResult[] = []
  const next = work.values()
  const worker = async (): Promise<void> => {
    for (const one of next) results.push(await one())
  }
  await Promise.all(Array.from({ length: jobs }, worker))
  return results
}

it(
  'R1 R2 R4 R5: killed with -9 at every named point, the squad makes every effect once and gives the same answers',
  { timeout: 3_600_000 },
  async () => {
    const inbox = await inboxOf(fileURLToPath(new URL('../inbox', import.meta.url)), routes)
    try {
      const truth = await truthOf(inbox)
      expect(truth.books.repeatedEffects).toBe(0)
      expect(truth.points.size).toBeGreaterThan(30)
      const cases = casesOf(truth, false)
      const results = await runAll([
        ...cases.map((one) => () => runCase(inbox, truth, one)),
        ...[[400], [900, 700], [1400, 500, 800]].map((delays) => () => runRandom(inbox, truth, delays)),
      ])
      expect(results.filter((r) => r.problems.length > 0)).toEqual([])
      expect(results.filter((r) => r.killed).length).toBeGreaterThan(cases.length * 0.6)
    } finally {
      await rm(inbox, { recursive: true, force: true })
    }
  },
)
