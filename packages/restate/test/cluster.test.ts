import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { startEmbeddedRestate, type EmbeddedRestate } from '../src/embedded.ts'
import { openWorld, type World } from './world.ts'

// Three nodes that write everything to two: one is lost while runs are driven.

let restate: EmbeddedRestate
const worlds: World[] = []
beforeAll(async () => {
  restate = await startEmbeddedRestate({ nodes: 3, fsync: false })
}, 120_000)
afterEach(async () => {
  for (const world of worlds.splice(0)) await world.close()
})
afterAll(async () => {
  await restate.close()
})

// The first has the ingress that the workers know; the others do without.
test.each(process.env['CONVOKE_TEST_LONG'] === '1' ? [1, 2, 3] : [2])(
  'node %i of three is lost during the runs: every effect is had once',
  async (number) => {
    const world = await openWorld({ engine: restate.url })
    worlds.push(world)
    const workers = [await world.worker(), await world.worker()]
    const runs = Array.from({ length: 12 }, (_, i) => `r${i}`)
    for (const [i, id] of runs.entries()) await workers[i % 2]?.start(id, { steps: 4, sleepMs: 100 })
    await world.until('a start', async () => (await world.effects()).length >= 6)
    const node = restate.nodes[number - 1]
    await node?.kill()
    const killedAt = Date.now()
    expect(await world.settle(runs, 4)).toBe(48)
    console.log(`node ${number} lost: 12 runs done ${Date.now() - killedAt} ms later`)
    await workers[0]?.start('after', { steps: 4, sleepMs: 10 })
    expect(await world.settle([...runs, 'after'], 4)).toBe(52)
    await node?.start()
  },
  180_000,
)
