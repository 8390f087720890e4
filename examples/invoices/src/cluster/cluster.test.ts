/**
 * The squad on Postgres with Restate, and with Postgres alone, while parts of the cluster are killed with -9: every effect
 * once by the ERP's own books, and the same answers as when nothing was killed. The whole matrix is `npm run crash:cluster`;
 * what runs here is a sample that every check can afford.
 */
import { rm } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { inboxOf } from '../crash-matrix.ts'
import { clusterTruth, runTrouble, type ClusterTruth, type Trouble } from './matrix.ts'
import { startServers, type Servers } from './parts.ts'
import { atPoints, toServers } from './troubles.ts'

/** What a worker does that no other point stands for: an intent, an effect, an answer, an end, a commit of each kind. */
const sampled = ['tool.after:erp.createPayment#1', 'append.before:tool.completed#1', 'append.after:run.completed#1']
const servers: Servers[] = []
let inbox = ''

beforeAll(async () => {
  inbox = await inboxOf(fileURLToPath(new URL('../../inbox', import.meta.url)), ['inv-1001.pdf', 'inv-1005.pdf'])
})

afterAll(async () => {
  for (const one of servers) await one.close()
  await rm(inbox, { recursive: true, force: true })
})

describe.each(['restate', 'postgres'] as const)('on Postgres, runs handed out by %s', (engine) => {
  let its: Servers
  let truth: ClusterTruth

  beforeAll(async () => {
    its = await startServers({ engine })
    servers.push(its)
    truth = await clusterTruth(inbox, its)
  }, 120_000)

  test('a worker killed at a named point is followed by another, and nothing is done twice', async () => {
    const troubles = atPoints(truth, 'first').filter(({ name }) => sampled.includes(name))
    expect(troubles.length).toBeGreaterThan(1)
    for (const trouble of troubles)
      expect(await runTrouble(inbox, truth, its, trouble)).toMatchObject({ killed: true, problems: [] })
  }, 300_000)

  test('everything killed at once, servers and workers, goes on where it was', async () => {
    const all = toServers(3).find(({ name }) => name.includes('everything')) as Trouble
    expect(await runTrouble(inbox, truth, its, all)).toMatchObject({ problems: [] })
  }, 300_000)
})
