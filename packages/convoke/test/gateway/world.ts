import { randomBytes, randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ConvokeError } from '../../src/core/errors.ts'
import { runStream, type ApprovalRow } from '../../src/core/projections.ts'
import { decideApproval, type DecideOptions } from '../../src/gateway/decisions.ts'
import { ancestorDispatchIn } from '../../src/gateway/ancestors.ts'
import type { Caller, GatewayDeps } from '../../src/gateway/deps.ts'
import { extendGateway, type GatewayRun } from '../../src/gateway/extend.ts'
import { openNetwork } from '../../src/net/network.ts'
import { openSqliteLedger } from '../../src/ledger-sqlite/index.ts'
import type { Ledger, Lease } from '../../src/ports/ledger.ts'
import type { Clock } from '../../src/ports/runtime.ts'
import { drive, type DriveResult } from '../../src/replay/drive.ts'
import type { Runtime } from '../../src/replay/runtime.ts'
import type { DurableRun } from '../../src/replay/durable-run.ts'
import { readAll } from '../../src/replay/history.ts'
import { startRun, type RunStart } from '../../src/replay/start.ts'
import type { Entry } from '../../src/replay/types.ts'
import type { AnyWorkflow } from '../../src/replay/workflow.ts'
import { systemClock } from '../../src/system/clock.ts'

export const tenant = 'acme'
export type Code = (run: DurableRun & GatewayRun, input: never) => Promise<unknown>

/** A workflow without an app around it. Its name stands for its code. */
export function flow(name: string, code: Code): AnyWorkflow {
  return {
    kind: 'workflow',
    name,
    version: '1',
    digest: name,
    code: code as never,
    parseInput: async (value) => value as never,
    parseOutput: async (value) => value,
  }
}

const ids = { next: () => randomUUID(), salt: () => randomBytes(16).toString('hex') }

export interface World {
  readonly dir: string
  readonly ledger: Ledger
  readonly lease: Lease
  /** Starts a run and drives it until it is done or waits for more than a moment. */
  run(code: Code, options?: { readonly id?: string; readonly fork?: RunStart['fork'] }): Promise<Driven>
  start(code: Code, id: string, fork?: RunStart['fork']): Promise<void>
  go(code: Code, id: string, worker?: Partial<Runtime>): Promise<Driven>
  decide(id: string, decision: Omit<DecideOptions, 'tenant' | 'id' | 'by' | 'at'>): Promise<void>
  pending(run: string): Promise<ApprovalRow[]>
  records(id: string): Promise<Entry[]>
  close(): Promise<void>
}

export interface Driven {
  readonly id: string
  readonly result: DriveResult
  readonly status: string
  readonly value: unknown
  readonly error: { readonly code: string; readonly message: string; readonly details?: unknown } | undefined
  /** Types of the records at the call's path, in order. */
  types(path?: string): string[]
  readonly entries: readonly Entry[]
}

export const person = { kind: 'person', id: 'ada' } as const

export async function world(
  gateway: Partial<GatewayDeps> = {},
  options: { readonly dir?: string; readonly clock?: Clock; readonly leaseMs?: number; readonly caller?: Caller } = {},
): Promise<World> {
  const dir = options.dir ?? (await mkdtemp(join(tmpdir(), 'convoke-gateway-')))
  const clock = options.clock ?? systemClock
  const ledger = await openSqliteLedger({
    dir,
    durability: 'process-crash-only',
    ...(options.leaseMs === undefined ? {} : { leaseMs: options.leaseMs }),
  })
  const lease = await ledger.register(`w_${randomUUID()}`)
  let runs = 0
  const troubles: ConvokeError[] = []

  const runtimeOf = (workflow: AnyWorkflow, other: Partial<Runtime>): Runtime => ({
    ledger,
    lease,
    clock,
    ids,
    redact: (value) => value,
    workflows: new Map([[workflow.name, workflow]]),
    extend: (driven) => [
      extendGateway(
        {
          ledger,
          lease: driven.runtime.lease,
          clock,
          keyed: driven.keyed,
          network: openNetwork(),
          networkRules: { inside: ['loopback'] },
          probe: driven.runtime.probe,
          ...(driven.history.fork === undefined
            ? {}
            : { effects: driven.history.fork.effects, ancestorDispatch: ancestorDispatchIn(driven.history.ancestors) }),
          ...gateway,
        },
        options.caller,
      ),
    ],
    onTrouble: (_run, error) => void troubles.push(error),
    ...other,
  })

  const self: World = {
    dir,
    ledger,
    lease,
    async start(code, id, fork) {
      await startRun(
        {
          tenant,
          run: id,
          workflow: flow('test', code),
          input: null,
          actor: { kind: 'system', id: 'test' },
          ...(fork === undefined ? {} : { fork }),
        },
        { ledger, clock, ids, redact: (value) => value },
      )
    },
    async go(code, id, worker = {}) {
      const ref = { tenant, stream: runStream(id) }
      const runtime = runtimeOf(flow('test', code), worker)
      let result: DriveResult
      for (let i = 0; ; i++) {
        result = await drive(runtime, ref, new AbortController().signal)
        const row = await ledger.run(ref)
        if (result !== 'parked' || row?.due === undefined || row.due - clock.now() > 2_000 || i > 50) break
        await clock.sleep(Math.max(0, row.due - clock.now()))
      }
      const entries = await readAll(ledger, tenant, ref.stream)
      const row = await ledger.run(ref)
      const last = entries[entries.length - 1]?.payload
      return {
        id,
        result,
        status: row?.status ?? 'none',
        value: last?.['value'],
        error: (result === 'lost'
          ? troubles.at(-1)?.toJSON()
          : (last?.['error'] ?? (last?.['code'] && last))) as Driven['error'],
        entries,
        types: (path) =>
          entries
            .filter((e) => (path === undefined ? e.record.path !== undefined : e.record.path === path))
            .map((e) => e.record.type),
      }
    },
    async run(code, o = {}) {
      const id = o.id ?? `r${++runs}`
      await self.start(code, id, o.fork)
      return self.go(code, id)
    },
    decide: (id, decision) => decideApproval(ledger, { tenant, id, by: person, at: clock.now(), ...decision }),
    pending: (run) => ledger.approvals({ tenant, status: 'pending', run }),
    records: (id) => readAll(ledger, tenant, runStream(id)),
    async close() {
      await lease.release()
      await ledger.close()
      if (options.dir === undefined) await rm(dir, { recursive: true, force: true })
    },
  }
  return self
}
