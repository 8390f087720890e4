/**
 * What a call costs in the gateway, beside durability and network: processor time of a run of calls less that of a run of
 * plain steps, which have the same records. A call with an effect has one more record, its intent, on disk before it
 * begins; that is durability, and is shown apart. For requests: the gateway's fetch less Node's own.
 */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { convoke, policy, tool, workflow, type EffectClass, type Tool } from 'convoke'
import { openSqliteLedger } from 'convoke/sqlite'
import { createChain } from 'convoke/testing'
import { z } from 'zod'
import { report, type Bench, type Scenes } from './harness.ts'
import { median } from './quantile.ts'

const rounds = 5

export async function measure(bench: Bench): Promise<void> {
  const size = bench.small ? 50 : 1_000
  await bench.inFolder(async (dir) => {
    const outcome = await bench.scene('gateway', 'calls', size, dir)
    report(bench, { workload: 'gateway', size }, ['read_call_us', 'µs'], outcome)
  })
}

const input = z.object({ number: z.string(), amount: z.string(), lines: z.array(z.string()) })
const output = z.object({ ok: z.boolean(), number: z.string() })
const answer = { ok: true, number: 'PO-1' }
const order = { number: 'PO-1', amount: '12.50', lines: ['a', 'b', 'c'] }

function toolOf(name: string, effect: EffectClass, url?: string): Tool<typeof order, { ok: boolean; number: string }> {
  return tool({
    name,
    description: 'answers',
    effect,
    inputSchema: input,
    outputSchema: output,
    network: { inside: ['loopback'] },
    execute: async ({ number }, context) => (url === undefined ? { ok: true, number } : context.fetch(url)),
  })
}

export const scenes: Scenes = {
  async calls({ dir, size }, tell) {
    const server = createServer((_, response) =>
      response.setHeader('content-type', 'application/json').end('{"ok":true,"number":"PO-1"}'),
    )
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
    const [read, keyed, far] = [toolOf('read', 'read'), toolOf('keyed', 'keyed'), toolOf('far', 'read', url)]
    const flow = workflow({ name: 'flow', input: z.string(), output: z.number() }, async (run, kind) => {
      for (let i = 0; i < size; i++) {
        const name = `s${i}`
        if (kind === 'step') await run.step(name, { input: order }, () => ({ ok: true, number: order.number }))
        else if (kind === 'fetch')
          await run.step(name, { input: order }, async () => (await fetch(url)).json() as Promise<typeof answer>)
        else await run.call(kind === 'read' ? read : kind === 'far' ? far : keyed, order, { name })
      }
      return size
    })
    const app = convoke({
      store: join(dir, 'store'),
      durability: 'process-crash-only',
      workflows: { flow },
      tools: [read, keyed, far],
      policy: policy({
        version: '1',
        rules: [{ tool: 'other.*', hold: { category: 'never' } }],
      }),
    })
    const kinds = ['step', 'read', 'keyed', 'fetch', 'far'] as const
    const times = Object.fromEntries(kinds.map((kind) => [kind, [] as number[]])) as Record<string, number[]>
    for (let round = -1; round < rounds; round++)
      for (const kind of kinds) {
        const before = process.cpuUsage()
        await (await app.start(flow, kind, { id: `${kind}-${round}` })).result()
        const { user, system } = process.cpuUsage(before)
        if (round >= 0) times[kind]?.push((user + system) / size)
      }
    const cost = (kind: string): number => median(times[kind] ?? [])
    const durable = await recordCost(join(dir, 'records'), size)
    const note = `processor time, median of ${rounds}; all threads`
    tell({ metric: 'step_us', value: cost('step'), unit: 'µs', note })
    tell({ metric: 'read_call_us', value: cost('read') - cost('step'), unit: 'µs', note: 'beyond a step' })
    tell({
      metric: 'keyed_call_us',
      value: cost('keyed') - cost('step'),
      unit: 'µs',
      note: 'beyond a step, its intent included',
    })
    tell({
      metric: 'record_us',
      value: durable,
      unit: 'µs',
      note: 'one more record and its commit, by the ledger alone',
    })
    tell({
      metric: 'keyed_call_beside_durability_us',
      value: cost('keyed') - cost('step') - durable,
      unit: 'µs',
      note: "beyond a step and its intent's record",
    })
    tell({
      metric: 'fetch_us',
      value: cost('far') - cost('read') - (cost('fetch') - cost('step')),
      unit: 'µs',
      note: "the gateway's fetch beyond Node's",
    })
    await app.close()
    server.closeAllConnections()
    server.close()
  },
}

/** What the ledger takes for one record of an intent's size and a commit of its own: sealed, sent, written, answered. */
async function recordCost(dir: string, size: number): Promise<number> {
  const ledger = await openSqliteLedger({ dir, durability: 'process-crash-only' })
  await ledger.register('bench')
  const chain = createChain({ tenant: 'local', stream: 'run/records' })
  const started = chain.next({ type: 'run.started', payload: { workflow: 'bench', version: '1' } })
  await ledger.append([{ ref: chain.ref, epoch: 0, records: [started] }])
  chain.follow(await ledger.claim(chain.ref, 'bench'))
  const costs: number[] = []
  for (let round = -1; round < rounds; round++) {
    const before = process.cpuUsage()
    for (let i = 0; i < size; i++) {
      const record = chain.next({
        type: 'tool.dispatched',
        path: `r${round + 1}-${i}`,
        causes: [{ kind: 'control', ref: `${chain.ref.stream}@${chain.head.seq}` }],
        payload: { tool: 'keyed', effect: 'keyed', key: `${round + 1}-${i}`.padStart(32, '0'), input: order },
      })
      await ledger.append([{ ref: chain.ref, epoch: 1, records: [record] }])
    }
    const { user, system } = process.cpuUsage(before)
    if (round >= 0) costs.push((user + system) / size)
  }
  await ledger.close()
  return median(costs)
}
