import { rm } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { inboxOf } from '../crash-matrix.ts'
import { routes } from '../routes.ts'
import { clusterTruth, runTrouble, type Trouble, type TroubleResult } from './matrix.ts'
import { startServers, type Engine, type Servers } from './parts.ts'
import { atPoints, toOneNode, toServers } from './troubles.ts'

// npm run crash:cluster                       every named point once, then the servers, on Postgres with Restate
// npm run crash:cluster -- --sample           each point at its first, middle and last occurrence
// npm run crash:cluster -- --all              every occurrence
// npm run crash:cluster -- --engine postgres  the same without Restate
// npm run crash:cluster -- --nodes            a Restate of three nodes loses one

const { values } = parseArgs({
  options: {
    engine: { type: 'string', default: 'restate' },
    all: { type: 'boolean' },
    sample: { type: 'boolean' },
    nodes: { type: 'boolean' },
    only: { type: 'string' },
    jobs: { type: 'string', default: '2' },
  },
})
const say = (text: string): void => void process.stdout.write(`${text}\n`)
const inbox = await inboxOf(fileURLToPath(new URL('../../inbox', import.meta.url)), routes)
let servers: Servers | undefined
let interrupted = false
process.once('SIGINT', () => (interrupted = true))

try {
  servers = await startServers({ engine: values.engine as Engine, nodes: values.nodes === true ? 3 : 1 })
  const its = servers
  const truth = await clusterTruth(inbox, its)
  const reached = [...truth.points.values()].reduce((sum, n) => sum + n, 0)
  say(`${truth.points.size} named points, reached ${reached} times by one worker with ${routes.length} invoices`)
  const wanted = (trouble: Trouble): boolean => values.only === undefined || trouble.name.includes(values.only)
  const which = values.all === true ? 'all' : values.sample === true ? 'sample' : 'first'
  const points = values.nodes === true ? [] : atPoints(truth, which).filter(wanted)
  const harm = (values.nodes === true ? [5, 25].flatMap(toOneNode) : [5, 15, 30].flatMap(toServers)).filter(wanted)
  // Troubles of workers share the servers; troubles of servers have them to themselves.
  const results = [...(await work(points, Number(values.jobs))), ...(await work(harm, 1))]
  const failed = results.filter((result) => result.problems.length > 0)
  const killed = results.filter((result) => result.killed).length
  say(`${results.length} runs, ${killed} with a worker killed at its point, ${failed.length} with a difference`)
  if (failed.length > 0 || interrupted) process.exitCode = 1

  async function work(troubles: readonly Trouble[], jobs: number): Promise<TroubleResult[]> {
    const done: TroubleResult[] = []
    const next = troubles.values()
    const worker = async (): Promise<void> => {
      for (const trouble of next) {
        if (interrupted) return
        const result = await runTrouble(inbox, truth, its, trouble)
        done.push(result)
        for (const problem of result.problems) say(`FAILED ${result.name}: ${problem}`)
        if (result.problems.length === 0) say(`ok ${(result.ms / 1_000).toFixed(1)} s  ${result.name}`)
      }
    }
    await Promise.all(Array.from({ length: jobs }, worker))
    return done
  }
} finally {
  await servers?.close()
  await rm(inbox, { recursive: true, force: true })
}
