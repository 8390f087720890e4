import { startEmbeddedPostgres, type EmbeddedPostgres } from '@convoke/postgres/embedded'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { openScene, type Scene, type WorkerProcess } from './workers/scene.ts'

// How soon another worker takes over is measured and printed; that nothing is repeated or lost is what is checked.

const long = process.env['CONVOKE_TEST_LONG'] === '1'
/** The product's default is 10 s; a short one keeps the suite short. */
const leaseMs = long ? 10_000 : 2_000
const holdMs = 1_500
const runs = Array.from({ length: 6 }, (_, i) => `r${i}`)

let server: EmbeddedPostgres
let scene: Scene | undefined
beforeAll(async () => {
  server = await startEmbeddedPostgres({ fsync: false })
}, 60_000)
afterAll(() => server.close())
afterEach(async () => {
  await scene?.end()
  scene = undefined
})

interface Situation {
  readonly scene: Scene
  readonly workers: readonly WorkerProcess[]
  readonly victim: WorkerProcess
  readonly its: readonly string[]
}

/** Some workers, each run held by one of them, and the one that holds most. */
async function situation(count: number): Promise<Situation> {
  const its = (scene = await openScene(await server.newDatabase()))
  const workers = await Promise.all(Array.from({ length: count }, () => its.worker({ leaseMs })))
  for (const id of runs) await its.client.start(its.flows.hold, { ms: holdMs }, { id })
  const held = await its.until('every run to be held', async () => {
    const found = holders((await its.audit()).ran)
    return found.size === runs.length && found
  })
  const by = (worker: WorkerProcess): string[] => runs.filter((run) => held.get(run)?.[0] === worker.pid)
  const victim = workers.toSorted((a, b) => by(b).length - by(a).length)[0]!
  return { scene: its, workers, victim, its: by(victim) }
}

/** The processes that began to hold each run. */
function holders(ran: Readonly<Record<string, number>>): Map<string, number[]> {
  const found = new Map<string, number[]>()
  for (const path of Object.keys(ran)) {
    const [run = '', step, pid] = path.split('/')
    if (step === 'hold') found.set(run, [...(found.get(run) ?? []), Number(pid)])
  }
  return found
}

/** Milliseconds until the first and the last of the victim's runs was held by another. */
async function takenOver({ scene: its, victim, its: theirs }: Situation, from: number): Promise<[number, number]> {
  const at = new Map<string, number>()
  await its.until('others to take over', async () => {
    const found = holders((await its.audit()).ran)
    for (const run of theirs)
      if (!at.has(run) && found.get(run)?.some((pid) => pid !== victim.pid) === true) at.set(run, Date.now() - from)
    return at.size === theirs.length
  })
  return [Math.min(...at.values()), Math.max(...at.values())]
}

async function allDone({ scene: its }: Situation): Promise<void> {
  await its.until('every run to end', async () => (await its.client.runs()).every(({ status }) => status === 'done'))
}

/** Every effect once, no finished step again, and what was in flight once more at most. */
async function expectOnce({ scene: its, its: theirs }: Situation): Promise<void> {
  const { effects, ran } = await its.audit()
  expect(effects).toEqual(Object.fromEntries(runs.map((run) => [run, 1])))
  for (const run of runs) {
    expect([ran[`${run}/first`], ran[`${run}/last`]]).toEqual([1, 1])
    expect(holders(ran).get(run)).toHaveLength(theirs.includes(run) ? 2 : 1)
  }
}

function report(what: string, [first, last]: [number, number]): void {
  process.stdout.write(`takeover, ${what}: first run after ${first} ms, last after ${last} ms\n`)
}

test.each(long ? [2, 3] : [3])(
  'R1 R4 R5: of %i workers one is killed: another goes on with its runs, every effect once',
  async (n) => {
    const its = await situation(n)
    const from = Date.now()
    its.victim.child.kill('SIGKILL')
    report(`${n} workers, one killed, lease ${leaseMs} ms`, await takenOver(its, from))
    await allDone(its)
    await expectOnce(its)
  },
  120_000,
)

test.skipIf(process.platform === 'win32').each(long ? [2, 3] : [2])(
  'R7: of %i workers one is stopped: another goes on; once it wakes its append is refused (EPOCH_STALE, LEASE_EXPIRED)',
  async (n) => {
    const its = await situation(n)
    const { victim } = its
    const from = Date.now()
    victim.child.kill('SIGSTOP')
    report(`${n} workers, one stopped, lease ${leaseMs} ms`, await takenOver(its, from))
    await allDone(its)
    await expectOnce(its)
    const ledger = await its.scene.client.ledger()
    const read = (): Promise<unknown[]> =>
      Promise.all(runs.map((run) => ledger.read({ tenant: 'local', stream: `run/${run}` })))
    const [before, audit] = [await read(), await its.scene.audit()]
    victim.child.kill('SIGCONT')
    const refused = await its.scene.until('the zombie to be refused', () =>
      Promise.resolve(victim.troubles.find(({ run, code }) => run !== undefined && code !== undefined)),
    )
    expect(['EPOCH_STALE', 'LEASE_EXPIRED', 'POSITION_STALE']).toContain(refused.code)
    expect(its.its).toContain(refused.run)
    // It goes on as a new worker, and takes new runs when it is alone.
    for (const worker of its.workers) if (worker !== victim) await worker.leave()
    const next = await its.scene.client.start(its.scene.flows.hold, { ms: 0 }, { id: 'next' })
    await next.result()
    expect(await read()).toEqual(before)
    const after = await its.scene.audit()
    for (const [path, times] of Object.entries(audit.ran)) expect([path, after.ran[path]]).toEqual([path, times])
    expect(after.effects).toEqual({ ...audit.effects, next: 1 })
  },
  180_000,
)
