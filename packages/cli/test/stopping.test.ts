/**
 * Stop means stop: real processes that call a counterpart without end, on one store; and one command from another
 * process. What is counted is what arrives at the counterpart.
 */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { startEmbeddedPostgres, type EmbeddedPostgres } from '@convoke/postgres/embedded'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { stop } from '../../convoke/test/durable/stop.ts'
import { json, place, type Place, type Running } from './support/cli.ts'

vi.setConfig({ testTimeout: 300_000, hookTimeout: 120_000 })

const app = join(import.meta.dirname, 'support', 'stopping.config.ts')
const arrived: { from: string; at: number }[] = []
let server: Server
let outside: string
let postgres: EmbeddedPostgres
let at: Place
let workers: Running[]

beforeAll(async () => {
  server = createServer((request, response) => {
    arrived.push({ from: (request.url ?? '').slice(1), at: performance.now() })
    request.resume().on('end', () => response.end('{}'))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  outside = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  postgres = await startEmbeddedPostgres({ fsync: false })
})
afterAll(async () => {
  server.closeAllConnections()
  server.close()
  await postgres.close()
})
beforeEach(() => {
  arrived.length = 0
  workers = []
  at = place()
})
afterEach(async () => {
  for (const worker of workers) worker.child.kill('SIGKILL')
  await Promise.all(workers.map((worker) => worker.done))
  at.remove()
})

const count = (from: string): number => arrived.filter((a) => a.from === from).length

async function until(what: string, enough: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; i < 1_200; i++) {
    if (await enough()) return
    await pause(50)
  }
  throw new Error(`waited in vain for ${what}; arrived: ${JSON.stringify(['long', 'many', 'clerk'].map(count))}`)
}

describe.each(['sqlite', 'postgres'])('convoke stop, on %s', (kind) => {
  let store: string
  beforeEach(async () => {
    store = kind === 'sqlite' ? join(at.dir, 'store') : await postgres.newDatabase()
    if (kind === 'postgres') await at.cli(['migrate', '--store', store])
  })

  const convoke = async (...args: string[]): Promise<Record<string, unknown>> => {
    const done = await at.cli([...args, '--store', store, '-o', 'json'])
    expect(done.code, done.err).toBe(0)
    return json(done.out) as unknown as Record<string, unknown>
  }
  const begin = (workflow: string, id: string): Running => {
    const worker = at.start(['run', workflow, '--id', id, '--store', store, '--app', app], {
      bare: true,
      env: { OUTSIDE: outside },
    })
    workers.push(worker)
    return worker
  }
  /** Goes on with what others have left. */
  const work = (): void => {
    const args = ['worker', '--store', store, '--app', app]
    workers.push(at.start(args, { bare: true, env: { OUTSIDE: outside } }))
  }
  const standing = async (run: string): Promise<string> =>
    (((await convoke('show', run))['row'] as { status: string; parkedOn?: string }) ?? {}).status

  test('a run in the middle of a long call, a role, and everything', async () => {
    begin('long', 'r_long')
    begin('many', 'r_many')
    begin('asks', 'r_asks')
    work()
    await until('all to call', () => ['long', 'many', 'clerk'].every((from) => count(from) >= 5))

    await convoke('stop', 'r_long')
    const ordered = performance.now()
    await until('r_long to be stopped', async () => (await standing('r_long')) === 'stopped')
    const long = count('long')
    const others = [count('many'), count('clerk')]
    await until('the others to call on', () => count('many') > others[0]! + 4 && count('clerk') > others[1]! + 4)
    expect(count('long')).toBe(long)
    tell(kind, 'a run', 'long', ordered)

    const role = await convoke('stop', '--role', 'clerk')
    const told = performance.now()
    await until('the role to wait', async () => (await standing('r_asks')) === 'parked')
    const clerk = count('clerk')
    const many = count('many')
    await until('the other to call on', () => count('many') > many + 4)
    expect(count('clerk')).toBe(clerk)
    tell(kind, 'a role', 'clerk', told)

    expect(await convoke('stop', '--lift', (role['halt'] as { id: string }).id)).toMatchObject({ woken: ['r_asks'] })
    await until('the role to call on', () => count('clerk') > clerk + 4)

    begin('long', 'r_other')
    await until('r_other to call', () => count('long') > long + 4)
    const halt = await convoke('stop', '--all', '--reason', 'a drill')
    const all = performance.now()
    const runs = ['r_many', 'r_asks', 'r_other']
    await until('all to be stopped', async () => (await Promise.all(runs.map(standing))).every((s) => s === 'stopped'))
    const total = arrived.length
    // Long enough for hundreds more, if anybody went on.
    await pause(2_000)
    expect(arrived.length).toBe(total)
    for (const from of ['many', 'clerk', 'long']) tell(kind, `everything (${from})`, from, all)

    // The long call is in doubt, or has ended with an error that says why: it is not made again by itself.
    await convoke('stop', '--lift', (halt['halt'] as { id: string }).id)
    await until('the others to call on', () => arrived.length > total + 8)
    expect(count('long')).toBe(arrived.slice(0, total).filter((a) => a.from === 'long').length)
  })

  test('a process that was asleep when the order came calls nobody when it wakes', async () => {
    const sleeper = begin('many', 'r_many')
    await until('it to call', () => count('many') >= 5)
    if (kind === 'sqlite') await stop(sleeper.child, store)
    else sleeper.child.kill('SIGSTOP')
    await convoke('stop', '--all')
    // Longer than anybody acts on what he knew before.
    await pause(5_000)
    const before = count('many')
    sleeper.child.kill('SIGCONT')
    await until('it to be stopped', async () => (await standing('r_many')) === 'stopped')
    expect(count('many')).toBe(before)
  })
})

/** For whoever reads the log: what arrived last, after the command had returned. */
function tell(kind: string, what: string, from: string, ordered: number): void {
  const last = arrived.findLast((a) => a.from === from)?.at ?? ordered
  process.stdout.write(
    `${kind}: ${what} stopped; the last call arrived ${Math.round(last - ordered)} ms after the order\n`,
  )
}
