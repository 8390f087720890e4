import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach } from 'vitest'
import { createApp, type App, type AppParts } from '../../src/app/app.ts'
import type { RunHandle } from '../../src/app/handle.ts'
import type { ConvokeError } from '../../src/core/errors.ts'
import { inboxStream, runStream } from '../../src/core/projections.ts'
import type { Json, JsonObject } from '../../src/core/json.ts'
import type { InboxMessage, Ledger } from '../../src/ports/ledger.ts'
import { readAll } from '../../src/replay/history.ts'
import type { Entry } from '../../src/replay/types.ts'
import { digestOf, type AnyWorkflow } from '../../src/replay/workflow.ts'
import { localDispatcher } from '../../src/dispatch-local/dispatcher.ts'
import { openSqliteLedger } from '../../src/ledger-sqlite/index.ts'
import { systemClock } from '../../src/system/clock.ts'
import { systemIds } from '../../src/system/ids.ts'
import { liveBus } from '../../src/system/live.ts'
import { acting, type ActingRun } from './act.ts'
import { createMemoryStore } from '../../src/testing/memory-ledger.ts'

// A store and the apps that work on it, for tests of the durable run. Everything is closed and removed after the test.

const cleanups: (() => Promise<void> | void)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

export interface Trouble {
  readonly run: string
  readonly error: ConvokeError
}

export interface World {
  readonly dir: string
  readonly troubles: Trouble[]
  /** Another process, as far as the store is concerned: a worker of its own. */
  app(workflows: readonly AnyWorkflow[], options?: WorldOptions): App
}

export function temporaryFolder(): string {
  const dir = mkdtempSync(join(tmpdir(), 'convoke-durable-'))
  cleanups.push(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

/** In memory, or in a folder as processes share it. */
export function newWorld(kind: 'memory' | 'sqlite' = 'memory'): World {
  const dir = kind === 'sqlite' ? temporaryFolder() : ''
  const store = createMemoryStore()
  const troubles: Trouble[] = []
  return {
    dir,
    troubles,
    app: (workflows, options = {}) =>
      assemble(workflows, troubles, {
        openLedger: async () =>
          kind === 'memory'
            ? store.open()
            : openSqliteLedger({
                dir,
                durability: 'process-crash-only',
                ...(options.probe === undefined ? {} : { probe: options.probe }),
                ...(options.leaseMs === undefined ? {} : { leaseMs: options.leaseMs }),
              }),
        ...options,
      }),
  }
}

export type WorldOptions = Partial<AppParts> & { readonly leaseMs?: number; readonly concurrency?: number }

/** What `convoke()` composes, but for the rooms above the durable run: in their place stands `act` (act.ts). */
function assemble(
  workflows: readonly AnyWorkflow[],
  troubles: Trouble[],
  options: WorldOptions & Pick<AppParts, 'openLedger'>,
): App {
  const { concurrency = 64 } = options
  const redact = (value: Json): Json => value
  const app = createApp({
    tenant: 'local',
    workflows: Object.fromEntries(workflows.map((w, i) => [`w${i}`, w])),
    dispatcher: async (ledger) => localDispatcher({ ledger, clock: options.clock ?? systemClock, concurrency }),
    extend: async () => () => [acting],
    clock: systemClock,
    ids: systemIds(),
    live: liveBus({ redact }),
    redact,
    drives: true,
    onTrouble: (ref, error) => void troubles.push({ run: ref.stream.slice(4), error }),
    ...options,
  })
  cleanups.push(() => app.close())
  return app
}

/** A workflow with neither schemas nor the types of the rooms above. `edit` stands for a change of its text. */
export function flow<I = unknown, O = unknown>(
  name: string,
  code: (run: ActingRun, input: I) => Promise<O>,
  edit = '',
): AnyWorkflow & { readonly code: (run: never, input: never) => Promise<O> } {
  return {
    kind: 'workflow',
    name,
    version: '1',
    digest: digestOf(code, edit),
    code: code as (run: never, input: never) => Promise<O>,
    parseInput: async (value) => value,
    parseOutput: async (value) => value,
  }
}

export async function begin(app: App, name: string, input: unknown, id = 'r'): Promise<RunHandle> {
  return app.start(name, input, { id })
}

export async function entriesOf(app: App, run = 'r'): Promise<Entry[]> {
  return readAll(await app.ledger(), app.tenant, runStream(run))
}

/** Type and path of each record, such as `step.completed a`. */
export function lines(entries: readonly Entry[]): string[] {
  return entries.map(({ record }) => (record.path === undefined ? record.type : `${record.type} ${record.path}`))
}

export function endOf(entries: readonly Entry[], path: string): Entry {
  const entry = entries.findLast((e) => e.record.path === path && typeof e.payload['fp'] === 'string')
  if (entry === undefined) throw new Error(`no record ends ${path}: ${lines(entries).join(', ')}`)
  return entry
}

/** What a run left behind, to be put into other ledgers whole or in part. */
export interface Recorded {
  readonly tenant: string
  readonly run: string
  readonly key: Uint8Array
  readonly entries: readonly Entry[]
  readonly inbox: readonly Entry[]
}

export async function recordOf(app: App, run = 'r'): Promise<Recorded> {
  const ledger = await app.ledger()
  return {
    tenant: app.tenant,
    run,
    key: await ledger.tenantKey(app.tenant),
    entries: await readAll(ledger, app.tenant, runStream(run)),
    inbox: await readAll(ledger, app.tenant, inboxStream(run)),
  }
}

/** A ledger that holds the first `count` records of a run, as a crash right after them would have left it. */
export async function cutAt(recorded: Recorded, count: number): Promise<Ledger> {
  const { tenant, run, key } = recorded
  const store = createMemoryStore()
  const ledger = store.open()
  const ref = { tenant, stream: runStream(run) }
  const kept = recorded.entries.slice(0, Math.max(2, count)).map((e) => e.record)
  const lease = await ledger.register('recorder')
  let epoch = 0
  for (let from = 0; from < kept.length;) {
    const own = kept[from]!.epoch
    let to = from
    while (to < kept.length && kept[to]!.epoch === own) to++
    while (epoch < own) epoch = (await ledger.claim(ref, 'recorder')).epoch
    await ledger.append([{ ref, epoch: own, records: kept.slice(from, to) }])
    from = to
  }
  await ledger.release(ref, epoch)
  await lease.release()
  for (const { record, payload } of recorded.inbox)
    await ledger.post({ tenant, stream: record.stream }, message(record, payload))
  return { ...ledger, tenantKey: async () => key }
}

function message(record: Entry['record'], payload: JsonObject): InboxMessage {
  const { type, at, actor, causes, labels } = record
  return { id: `m${record.seq}`, type, at, actor, causes, labels, payload }
}

/** Drives what a recorded run left, with `workflows`, from its first `count` records on. */
export async function goOn(
  recorded: Recorded,
  count: number,
  workflows: readonly AnyWorkflow[],
  options: WorldOptions = {},
): Promise<{ readonly app: App; readonly handle: RunHandle; readonly troubles: Trouble[] }> {
  const ledger = await cutAt(recorded, count)
  const troubles: Trouble[] = []
  const app = assemble(workflows, troubles, { openLedger: async () => ledger, tenant: recorded.tenant, ...options })
  await app.work()
  return { app, handle: await app.run(recorded.run), troubles }
}
