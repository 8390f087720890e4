import { randomBytes, randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Agent } from '../../src/agents/define.ts'
import { agentRegistry } from '../../src/agents/registry.ts'
import { extendAgents } from '../../src/agents/run.ts'
import type { AgentRoom } from '../../src/agents/work.ts'
import type { AnyRole } from '../../src/contracts/role.ts'
import { ConvokeError } from '../../src/core/errors.ts'
import type { Json } from '../../src/core/json.ts'
import { runStream } from '../../src/core/projections.ts'
import { decideApproval, type DecideOptions } from '../../src/gateway/decisions.ts'
import type { Run } from '../../src/app/run.ts'
import type { GatewayDeps } from '../../src/gateway/deps.ts'
import { extendGateway } from '../../src/gateway/extend.ts'
import type { AnyTool } from '../../src/gateway/tool.ts'
import { openSqliteLedger } from '../../src/ledger-sqlite/index.ts'
import type { Ledger } from '../../src/ports/ledger.ts'
import type { Model } from '../../src/ports/model.ts'
import type { Probe } from '../../src/ports/probe.ts'
import type { Clock, LiveEvent } from '../../src/ports/runtime.ts'
import { drive } from '../../src/replay/drive.ts'
import type { Runtime } from '../../src/replay/runtime.ts'
import { readAll } from '../../src/replay/history.ts'
import { startRun, type RunStart } from '../../src/replay/start.ts'
import type { Entry } from '../../src/replay/types.ts'
import type { AnyWorkflow } from '../../src/replay/workflow.ts'
import { systemClock } from '../../src/system/clock.ts'

export const tenant = 'acme'
export type { Run }
export type Code = (run: Run, input: never) => Promise<unknown>

const ids = { next: () => randomUUID(), salt: () => randomBytes(16).toString('hex') }

/** What an app would hold. */
export interface Cast {
  readonly agents: readonly Agent[]
  readonly tools?: readonly AnyTool[]
  /** The default model, and models by name. */
  readonly model?: Model
  readonly models?: Readonly<Record<string, Model>>
  readonly budget?: AgentRoom['budget']
  readonly gateway?: Partial<GatewayDeps>
  readonly redact?: (value: Json) => Json
}

export interface Ended {
  readonly id: string
  readonly result: string
  readonly status: string
  readonly value: never
  readonly error: { readonly code: string; readonly message: string; readonly details?: never } | undefined
  readonly entries: readonly Entry[]
  /** Live events of the driving process. */
  readonly live: readonly LiveEvent[]
  at(path: string): Entry | undefined
  all(type: string): Entry[]
}

export interface World {
  readonly ledger: Ledger
  readonly dir: string
  start(code: Code, id: string, more?: Partial<RunStart>): Promise<void>
  /** Drives until the run has ended or waits for longer than a moment. */
  go(code: Code, id: string, cast?: Cast, probe?: Probe): Promise<Ended>
  run(code: Code, id?: string): Promise<Ended>
  decide(id: string, decision: Omit<DecideOptions, 'tenant' | 'id' | 'by' | 'at'>): Promise<void>
  close(): Promise<void>
}

function roomOf(cast: Cast): AgentRoom {
  return {
    registry: agentRegistry(cast.agents),
    roles: new Map<string, AnyRole>(cast.agents.map((a) => [a.role.name, a.role])),
    tools: new Map((cast.tools ?? []).map((t) => [t.name, t])),
    models: (model) => {
      if (typeof model === 'object') return model
      const found = model === undefined ? cast.model : cast.models?.[model]
      if (found === undefined) throw new ConvokeError('MODEL_UNKNOWN', `no model ${String(model)} is configured`)
      return found
    },
    ...(cast.budget === undefined ? {} : { budget: cast.budget }),
  }
}

export async function world(cast: Cast, options: { dir?: string; clock?: Clock } = {}): Promise<World> {
  const dir = options.dir ?? (await mkdtemp(join(tmpdir(), 'convoke-agents-')))
  const clock = options.clock ?? systemClock
  const ledger = await openSqliteLedger({ dir, durability: 'process-crash-only' })
  const lease = await ledger.register(`w_${randomUUID()}`)
  let runs = 0
  const flow = (code: Code): AnyWorkflow => ({
    kind: 'workflow',
    name: 'test',
    version: '1',
    digest: 'test',
    code: code as never,
    parseInput: async (value) => value as never,
    parseOutput: async (value) => value,
  })
  const self: World = {
    ledger,
    dir,
    async start(code, id, more = {}) {
      await startRun(
        { tenant, run: id, workflow: flow(code), input: null, actor: { kind: 'system', id: 'test' }, ...more },
        { ledger, clock, ids, redact: (value) => value },
      )
    },
    async go(code, id, its = cast, probe) {
      const ref = { tenant, stream: runStream(id) }
      const live: LiveEvent[] = []
      const troubles: ConvokeError[] = []
      const runtime: Runtime = {
        ledger,
        lease,
        clock,
        ids,
        probe,
        live: { publish: (event) => void live.push(event), subscribe: () => () => undefined },
        redact: its.redact ?? ((value) => value),
        workflows: new Map([['test', flow(code)]]),
        extend: (driven) => {
          const gateway: GatewayDeps = { ledger, lease, clock, keyed: driven.keyed, probe, ...its.gateway }
          return [extendGateway(gateway), extendAgents(roomOf(its), driven, gateway)]
        },
        onTrouble: (_, error) => void troubles.push(error),
      }
      let result
      for (let i = 0; ; i++) {
        result = await drive(runtime, ref, new AbortController().signal)
        const row = await ledger.run(ref)
        if (result !== 'parked' || row?.due === undefined || row.due - clock.now() > 3_000 || i > 50) break
        await clock.sleep(Math.max(0, row.due - clock.now()))
      }
      const entries = await readAll(ledger, tenant, ref.stream)
      const row = await ledger.run(ref)
      const last = entries.at(-1)?.payload
      return {
        id,
        result,
        status: row?.status ?? 'none',
        value: last?.['value'] as never,
        error: (result === 'lost'
          ? troubles.at(-1)?.toJSON()
          : (last?.['error'] ?? (last?.['code'] === undefined ? undefined : last))) as Ended['error'],
        entries,
        live,
        at: (path) => entries.findLast((e) => e.record.path === path),
        all: (type) => entries.filter((e) => e.record.type === type),
      }
    },
    async run(code, id = `r${++runs}`) {
      await self.start(code, id)
      return self.go(code, id)
    },
    decide: (id, decision) =>
      decideApproval(ledger, { tenant, id, by: { kind: 'person', id: 'ada' }, at: clock.now(), ...decision }),
    async close() {
      await lease.release()
      await ledger.close()
      if (options.dir === undefined) await rm(dir, { recursive: true, force: true })
    },
  }
  return self
}
