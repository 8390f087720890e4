/** Restate without anything else, as its documentation shows it; the server is started by the parent (bench/restate.ts). */
import * as restate from '@restatedev/restate-sdk'
import { connect } from '@restatedev/restate-sdk-clients'
import type { AddressInfo } from 'node:net'
import { createServer as createHttp2Server } from 'node:http2'
import { type Body, type Engine, type Order, eachOf, serve } from './lib.ts'

const LANES = 100

const peer = {
  async open(_order: Order, body: Body): Promise<Engine> {
    const ingress = process.env['BENCH_RESTATE_INGRESS'] ?? ''
    const admin = process.env['BENCH_RESTATE_ADMIN'] ?? ''
    if (ingress === '' || admin === '') throw new Error('BENCH_RESTATE_INGRESS and BENCH_RESTATE_ADMIN are not set')
    const waits = new Map<string, () => void>()

    const chain = restate.object({
      name: 'chain',
      handlers: {
        run: async (ctx: restate.ObjectContext, size: number) => {
          for (let i = 0; i < size; i++) await ctx.run(`s${i}`, () => body(ctx.key, i))
        },
      },
      options: { inactivityTimeout: 3_600_000, journalRetention: 0 },
    })
    const wait = restate.workflow({
      name: 'wait',
      handlers: {
        run: async (ctx: restate.WorkflowContext) => {
          waits.get(ctx.key)?.()
          await ctx.promise<string>('go')
          await ctx.run('after', () => body(ctx.key, 0))
        },
        go: async (ctx: restate.WorkflowSharedContext) => await ctx.promise<string>('go').resolve('go'),
      },
    })
    const server = createHttp2Server(restate.createEndpointHandler({ services: [chain, wait], logger: () => undefined }))
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    const registered = await fetch(`${admin}/deployments`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      // A server that measured before knows the names at another address.
      body: JSON.stringify({ uri: `http://127.0.0.1:${port}`, force: true, breaking: true }),
    })
    if (!registered.ok) throw new Error(`registration: ${registered.status} ${await registered.text()}`)
    const client = connect({ url: ingress })
    const results = new Map<string, Promise<unknown>>()

    return {
      chain: async (run, steps) => await client.objectClient<typeof chain>({ name: 'chain' }, run).run(steps),
      resume: () => Promise.reject(new Error('not measured')),
      converse: () => Promise.reject(new Error('not measured')),
      fanout: () => Promise.reject(new Error('not measured')),
      park: (runs) =>
        eachOf(runs, LANES, async (run) => {
          const waiting = new Promise<void>((resolve) => waits.set(run, resolve))
          await client.workflowClient<typeof wait>({ name: 'wait' }, run).workflowSubmit()
          await waiting
        }),
      async wake(runs) {
        await eachOf(runs, LANES, async (run) => {
          const handle = client.workflowClient<typeof wait>({ name: 'wait' }, run)
          await handle.go()
          results.set(run, Promise.resolve(handle.workflowAttach()))
          await results.get(run)
        })
      },
      durability: () => Promise.resolve('Restate, one node, its log synced'),
      async close() {
        server.close()
        await Promise.resolve()
      },
    }
  },
}

await serve(peer)
