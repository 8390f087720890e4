import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { stripTypeScriptTypes } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { convoke, tool, workflow, type App, type EffectClass } from '../index.ts'
import { isolated, type IsolatedOptions } from './isolated.ts'

let dir: string
let module: URL
let app: App | undefined
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'convoke-isolate-'))
  // JavaScript: see `worker` in IsolatedOptions.
  const fixture = join(dir, 'fixture.mjs')
  await writeFile(fixture, stripTypeScriptTypes(await readFile(new URL('./fixture.ts', import.meta.url), 'utf8')))
  module = pathToFileURL(fixture)
})
afterEach(async () => {
  await app?.close()
  app = undefined
  await rm(dir, { recursive: true, force: true })
})

async function again(): Promise<void> {
  await app?.close()
  app = undefined
}

interface Ways extends Partial<IsolatedOptions> {
  readonly effect?: EffectClass
  readonly timeoutMs?: number
  readonly input?: unknown
}

/** Calls one export in a run; another run goes on beside it. Gives the value, or the codes of the error and what it says. */
async function call(name: string, { effect = 'read', timeoutMs = 20_000, input = {}, ...how }: Ways): Promise<unknown> {
  const bad = tool({
    name: 'bad',
    description: 'Behaves badly.',
    effect,
    timeoutMs,
    inputSchema: z.any(),
    outputSchema: z.any(),
    retry: { attempts: 1 },
    transport: isolated({ module, export: name, memoryMb: 48, maxResultBytes: 1024 * 1024, ...how }),
  })
  const flow = workflow({ name: 'flow', input: z.any(), output: z.any() }, async (run, given) => run.call(bad, given))
  const calm = workflow({ name: 'calm', input: z.number(), output: z.number() }, async (run, n) => {
    let sum = 0
    for (let i = 0; i < n; i++) sum += await run.step(`add-${i}`, () => 1)
    return sum
  })
  app ??= convoke({
    store: join(dir, 'store'),
    workflows: { flow, calm },
    secrets: { get: (secret) => (secret === 'door' ? 'sesame' : undefined) },
  })
  const handle = await app.start(flow, input)
  const beside = await app.start(calm, 20)
  expect(await beside.result(), 'the other run goes on').toBe(20)
  return handle.result().catch((error: unknown) => {
    const cause = (error as Error).cause as { code?: string; message?: string; details?: Record<string, unknown> }
    return { code: cause?.code, message: cause?.message, reason: cause?.details?.['reason'] }
  })
}

describe.each(['worker', 'process'] as const)('%s', (isolation) => {
  test('works, with nothing of the environment, and asks the gateway for secrets', async () => {
    process.env['CONVOKE_CANARY'] = 'canary'
    try {
      expect(await call('add', { isolation, input: { a: 40, b: 2 } })).toEqual({ sum: 42 })
      await again()
      expect(await call('facts', { isolation })).toMatchObject({
        canary: null,
        key: expect.stringMatching(/^[0-9a-f]{48}$/),
      })
      await again()
      expect(await call('asks', { isolation })).toBe('6 letters')
    } finally {
      delete process.env['CONVOKE_CANARY']
    }
  })
  test.each([
    ['spin', { timeoutMs: 1500 }, { code: 'TOOL_TIMEOUT' }],
    ['deaf', { timeoutMs: 1500 }, { code: 'TOOL_TIMEOUT' }],
    ['leak', {}, { code: 'TOOL_CRASHED', reason: 'memory' }],
    ['leave', {}, { code: 'TOOL_CRASHED', reason: 'exit' }],
    ['throwText', {}, { code: 'TOOL_FAILED', message: 'just text' }],
    ['throwLater', {}, { code: 'TOOL_CRASHED', reason: 'uncaught' }],
    ['huge', {}, { code: 'TOOL_RESULT_TOO_LARGE' }],
    ['noData', {}, { code: 'TOOL_OUTPUT_INVALID' }],
    ['missing', {}, { code: 'TOOL_FAILED', message: expect.stringContaining('exports no function missing') }],
  ] as const)('%s ends by itself alone', async (name, how, expected) => {
    expect(await call(name, { isolation, ...how })).toMatchObject(expected)
  })
})

test('memory outside the heap is bounded in a process', async () => {
  expect(await call('leakOutside', {})).toMatchObject({ code: 'TOOL_CRASHED', reason: 'memory' })
})

test('an unsafe call that was killed at its time-out is in doubt: a person is asked (MAYBE_EXECUTED), R5', async () => {
  const hang = tool({
    name: 'hang',
    description: 'Never ends.',
    effect: 'unsafe',
    timeoutMs: 1000,
    inputSchema: z.any(),
    outputSchema: z.any(),
    transport: isolated({ module, export: 'spin' }),
  })
  const flow = workflow({ name: 'flow', input: z.any(), output: z.any() }, (run) => run.call(hang, {}))
  app = convoke({ store: join(dir, 'store'), workflows: { flow } })
  const handle = await app.start(flow, {})
  await expect.poll(async () => (await handle.status()).status, { timeout: 20_000 }).toBe('parked')
  expect(JSON.stringify(await (await app.ledger()).read({ tenant: 'local', stream: `run/${handle.id}` }))).toContain(
    'tool.doubted',
  )
})
