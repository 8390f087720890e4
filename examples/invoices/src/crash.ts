import { rm } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { casesOf, inboxOf, runCase, runRandom, truthOf, type CaseResult } from './crash-matrix.ts'
import { routes } from './routes.ts'

// npm run crash            first, middle and last occurrence of every named point, one invoice per route
// npm run crash -- --all   every occurrence
// npm run crash -- --random 50   kills from outside at random times

const { values } = parseArgs({
  options: {
    all: { type: 'boolean' },
    random: { type: 'string' },
    jobs: { type: 'string' },
    seed: { type: 'string' },
    only: { type: 'string' },
  },
})
const shipped = fileURLToPath(new URL('../inbox', import.meta.url))
const inbox = await inboxOf(shipped, routes)
const jobs = Number(values.jobs ?? '2')
let interrupted = false
process.once('SIGINT', () => (interrupted = true))

try {
  const truth = await truthOf(inbox)
  const total = [...truth.points.values()].reduce((sum, n) => sum + n, 0)
  process.stdout.write(
    `${truth.points.size} named points, reached ${total} times in an uninterrupted run of ${routes.length} invoices\n`,
  )
  const cases = casesOf(truth, values.all === true).filter(
    (c) => values.only === undefined || c.point.includes(values.only),
  )
  const work: (() => Promise<CaseResult>)[] =
    values.random === undefined
      ? cases.map((one) => () => runCase(inbox, truth, one))
      : randomDelays(Number(values.random), Number(values.seed ?? '1')).map(
          (delays) => () => runRandom(inbox, truth, delays),
        )
  const failed: CaseResult[] = []
  let done = 0
  let killed = 0
  const next = work.values()
  const worker = async (): Promise<void> => {
    for (const one of next) {
      if (interrupted) return
      const result = await one()
      done++
      if (result.killed) killed++
      if (result.problems.length > 0) {
        failed.push(result)
        process.stdout.write(`FAILED ${result.name}: ${result.problems.join('; ')}\n`)
      } else if (done % 20 === 0) process.stdout.write(`${done} of ${work.length}\n`)
    }
  }
  await Promise.all(Array.from({ length: jobs }, worker))
  process.stdout.write(`${done} runs, ${killed} killed with -9, ${failed.length} with a difference\n`)
  if (failed.length > 0 || interrupted) process.exitCode = 1
} finally {
  await rm(inbox, { recursive: true, force: true })
}

/** One to three delays a run, up to two seconds, by a small seeded generator (mulberry32). */
function randomDelays(runs: number, seed: number): number[][] {
  let state = seed >>> 0
  const draw = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
  return Array.from({ length: runs }, () =>
    Array.from({ length: 1 + Math.floor(draw() * 3) }, () => 300 + Math.floor(draw() * 2_500)),
  )
}
