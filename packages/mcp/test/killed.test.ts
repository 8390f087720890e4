import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { EffectClass } from 'convoke'
import type { McpServer } from '../src/index.ts'
import { place, until, type Place } from './support/place.ts'

// kill -9 of the worker while a tool's call is with its server. What happened is counted at the server.

vi.setConfig({ testTimeout: 180_000 })

let at: Place
beforeEach(() => {
  at = place()
})
afterEach(() => at.close())

const call = { tool: 'notes.add', input: { text: 'milk' } }

/** Kills a worker once its call has reached the server, and lets another one go on. */
async function killed(servers: readonly McpServer[]): Promise<unknown> {
  await (await at.accepted(servers)).close()
  at.behave('notes', { holds: true })
  const first = at.worker(servers, 'r_one', call)
  await until(() => at.lines('notes').length === 1, 'a call')
  first.child.kill('SIGKILL')
  expect(await first.done).toBe('')
  at.behave('notes', {})
  return JSON.parse(await at.worker(servers, 'r_one', call).done)
}

function alive(pid: string): boolean {
  try {
    return process.kill(Number(pid), 0)
  } catch {
    return false
  }
}

const classes: readonly [EffectClass, number, unknown][] = [
  ['read', 2, { status: 'done' }],
  ['idempotent', 2, { status: 'done' }],
  ['keyed', 2, { status: 'done' }],
  ['unsafe', 1, { status: 'parked', parkedOn: 'person' }],
]

test.each(classes)('R5 over stdio: %s, and the server saw %i calls', async (effect, calls, end) => {
  expect(await killed([at.stdio('notes', { tools: { add: effect } })])).toEqual(end)
  const lines = at.lines('notes')
  expect(lines).toHaveLength(calls)
  // R4: every try carries the same key.
  expect(new Set(lines).size).toBe(1)
  expect(lines[0]).toMatch(/^add [0-9a-f]{48}$/)
  // The servers of killed workers have ended with them.
  await until(() => !at.lines('notes', 'starts').some(alive), 'the end of all servers')
})

test.each(classes)('R5 over HTTP, the server lives on: %s, and it saw %i calls', async (effect, calls, end) => {
  const { server } = await at.http('notes', 'stateless')
  expect(await killed([{ ...server, tools: { add: effect } }])).toEqual(end)
  expect(at.lines('notes')).toHaveLength(calls)
  expect(new Set(at.lines('notes')).size).toBe(1)
})
