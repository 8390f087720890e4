import type { Json, JsonObject } from '../core/json.ts'
import { addDecimal } from '../core/money.ts'
import type { Actor, RecordRef } from '../core/record.ts'
import { approvalsIn, type ApprovalStory } from './approvals.ts'
import { claimsOf, type Claim } from './evidence.ts'
import { actionsIn, errorFact, type ActionFact } from './report-calls.ts'
import { isTerminal, list, object, text, type Entry, type RunRecords } from './records.ts'

// What an auditor asks about a run: who, what, with which model, under which policy, on which evidence, approved by whom.
// Made of the run's records alone, so that whoever has them can make it again and compare. A change of what is made of
// the same records is a change of `v`.

/** Who filled a role, and why. */
export interface RoleFact {
  readonly path: string
  readonly role: string
  readonly agent: string
  readonly version: string
  readonly digest?: string
  readonly model?: string
  /** Why this one: `only`, `asked`, `fork`, … */
  readonly rule?: string
  readonly ref: RecordRef
}

export interface ModelFact {
  readonly model: string
  /** What the provider says it was. */
  readonly served: readonly string[]
  readonly calls: number
  readonly input: number
  readonly output: number
  /** Decimal of US dollars, of the calls whose price is known. */
  readonly cost: string
}

/** What an agent concluded, and what it rests on. */
export interface ConclusionFact {
  readonly path: string
  readonly ref: RecordRef
  readonly role: string
  readonly agent?: string
  readonly version?: string
  readonly model?: string
  readonly confidence?: number
  readonly reasoning?: string
  readonly value?: Json
  readonly claims: readonly Claim[]
}

export interface RunReport {
  readonly v: 1
  readonly tenant: string
  readonly run: string
  readonly workflow: { readonly name: string; readonly version: string; readonly digest: string }
  /** Newer code that went on with it. */
  readonly adopted: readonly { readonly version: string; readonly digest: string; readonly ref: RecordRef }[]
  readonly status: 'open' | 'parked' | 'stopped' | 'done' | 'failed' | 'cancelled' | 'continued'
  readonly error?: { readonly code: string; readonly message: string }
  /** Milliseconds since the epoch, by the clocks of those who wrote. */
  readonly startedAt: number
  readonly endedAt?: number
  readonly startedBy: Actor
  readonly tags: readonly string[]
  readonly parent?: string
  readonly root: string
  readonly fork?: { readonly run: string; readonly at: number; readonly effects: string }
  readonly input?: Json
  readonly result?: Json
  /** Everybody who has a record in it, in the order of their first one. */
  readonly actors: readonly Actor[]
  readonly workers: readonly string[]
  readonly roles: readonly RoleFact[]
  readonly models: readonly ModelFact[]
  readonly policies: readonly { readonly version: string; readonly digest?: string }[]
  readonly actions: readonly ActionFact[]
  readonly approvals: readonly ApprovalStory[]
  readonly conclusions: readonly ConclusionFact[]
  /** Labels that somebody changed by an act of its own. */
  readonly relabelled: readonly {
    readonly path: string
    readonly ref: RecordRef
    readonly by: Actor
    readonly said: Json
  }[]
  readonly records: number
  /** Records whose payload was erased; what stood in them is in no other part of this either. */
  readonly erased: readonly RecordRef[]
}

const states: Readonly<Record<string, RunReport['status']>> = {
  'run.parked': 'parked',
  'run.stopped': 'stopped',
  'run.completed': 'done',
  'run.failed': 'failed',
  'run.cancelled': 'cancelled',
  'run.continued': 'continued',
}

/** Pure. */
export function reportOf(run: RunRecords): RunReport {
  const { own, all, started, fork } = run
  const last = own.at(-1) as Entry
  const status = states[last.record.type] ?? 'open'
  const ended = status !== 'open' && status !== 'parked' && status !== 'stopped'
  const error = status === 'stopped' ? last.payload : object(last.payload['error'])
  const p = started.payload
  const parent = text(p['parent'])
  const actions = actionsIn(run)
  return {
    v: 1,
    tenant: run.tenant,
    run: run.run,
    workflow: {
      name: text(p['workflow']) ?? '',
      version: text(p['version']) ?? '',
      digest: text(p['digest']) ?? '',
    },
    adopted: own.flatMap(({ ref, record, payload }) =>
      record.type === 'run.adopted'
        ? { version: text(payload['version']) ?? '', digest: text(payload['digest']) ?? '', ref }
        : [],
    ),
    status,
    ...(error === undefined ? {} : { error: errorFact(error) }),
    startedAt: started.record.at,
    ...(ended ? { endedAt: last.record.at } : {}),
    startedBy: started.record.actor,
    tags: list(p['tags']).map(String),
    ...(parent === undefined ? {} : { parent }),
    root: text(p['root']) ?? run.run,
    ...(fork === undefined ? {} : { fork: { run: fork.run, at: fork.at, effects: fork.effects } }),
    ...(run.input === undefined ? {} : { input: run.input }),
    ...(status === 'done' && last.payload['value'] !== undefined ? { result: last.payload['value'] } : {}),
    actors: distinct(all.map((e) => e.record.actor)),
    workers: distinct(actions.flatMap((a) => a.sent.map((s) => s.worker))),
    roles: rolesIn(all),
    models: modelsIn(own),
    policies: policiesIn(all, actions),
    actions,
    approvals: approvalsIn(all),
    conclusions: conclusionsIn(run),
    relabelled: all.flatMap(({ ref, record, payload }) =>
      payload['op'] === 'endorse' || payload['op'] === 'declassify'
        ? { path: record.path ?? '', ref, by: record.actor, said: { op: payload['op'], ...said(payload) } }
        : [],
    ),
    records: own.length,
    erased: all.filter((e) => e.record.salt === '').map((e) => e.ref),
  }
}

function said(payload: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(payload).filter(([key]) => !['op', 'fp', 'env', 'value'].includes(key)))
}

function distinct<T>(values: readonly T[]): readonly T[] {
  return [...new Map(values.map((value) => [JSON.stringify(value), value])).values()]
}

function rolesIn(all: readonly Entry[]): readonly RoleFact[] {
  return all.flatMap(({ ref, record, payload }) => {
    const value = record.type === 'role.resolved' ? object(payload['value']) : undefined
    if (value === undefined) return []
    const optional = (key: 'digest' | 'model' | 'rule'): JsonObject =>
      text(value[key]) === undefined ? {} : { [key]: text(value[key]) as string }
    return {
      path: (record.path ?? '').replace(/\/@[^/]*$/, ''),
      role: text(value['role']) ?? '',
      agent: text(value['agent']) ?? '',
      version: text(value['version']) ?? '',
      ...optional('digest'),
      ...optional('model'),
      ...optional('rule'),
      ref,
    }
  })
}

function modelsIn(own: readonly Entry[]): readonly ModelFact[] {
  const models = new Map<string, ModelFact>()
  for (const { payload } of own) {
    if (payload['op'] !== 'model') continue
    const usage: JsonObject = object(payload['usage']) ?? {}
    const tokens: JsonObject = object(usage['tokens']) ?? {}
    const model = text(payload['target']) ?? ''
    const served = text(usage['servedModel'])
    const before = models.get(model) ?? { model, served: [], calls: 0, input: 0, output: 0, cost: '0' }
    const cost = text(usage['cost'])
    models.set(model, {
      model,
      served: served === undefined || before.served.includes(served) ? before.served : [...before.served, served],
      calls: before.calls + 1,
      input: before.input + Number(tokens['input'] ?? 0),
      output: before.output + Number(tokens['output'] ?? 0),
      cost: cost !== undefined && /^-?\d+(\.\d+)?$/.test(cost) ? addDecimal(before.cost, cost) : before.cost,
    })
  }
  return [...models.values()]
}

/** Versions that something was decided under. A denial and a question name the version alone. */
function policiesIn(all: readonly Entry[], actions: readonly ActionFact[]): RunReport['policies'] {
  const said = actions.flatMap((a) => a.policy ?? [])
  const full = said.flatMap(({ version, digest }) => (digest === undefined ? [] : { version, digest }))
  const asked = all.flatMap(({ record, payload }) =>
    record.type === 'approval.requested' ? (text(payload['policyVersion']) ?? []) : [],
  )
  const named = [...said.map((p) => p.version), ...asked].filter((v) => !full.some((f) => f.version === v))
  return distinct([...full, ...named.map((version) => ({ version }))])
}

function conclusionsIn(run: RunRecords): readonly ConclusionFact[] {
  return run.all.flatMap((entry) => {
    const { ref, record, payload } = entry
    const outcome = payload['op'] === 'ask' && isTerminal(entry) ? object(payload['value']) : undefined
    if (outcome === undefined) return []
    const optional = (key: 'agent' | 'version' | 'model' | 'reasoning'): JsonObject =>
      text(outcome[key]) === undefined ? {} : { [key]: text(outcome[key]) as string }
    return {
      path: record.path ?? '',
      ref,
      role: text(payload['target']) ?? '',
      ...optional('agent'),
      ...optional('version'),
      ...optional('model'),
      ...(typeof outcome['confidence'] === 'number' ? { confidence: outcome['confidence'] } : {}),
      ...optional('reasoning'),
      ...(outcome['value'] === undefined ? {} : { value: outcome['value'] }),
      claims: claimsOf(outcome, run),
    }
  })
}
