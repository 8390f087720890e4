import { ConvokeError } from '../core/errors.ts'
import type { Json } from '../core/json.ts'
import { joinLabels, type Labels } from '../core/labels.ts'
import { runIdOf, runStream } from '../core/projections.ts'
import type { Actor } from '../core/record.ts'
import type { Dispatcher } from '../ports/dispatcher.ts'
import type { Ledger, Lease, RunFilter, StreamRef } from '../ports/ledger.ts'
import type { RunRow } from '../core/projections.ts'
import type { Probe } from '../ports/probe.ts'
import type { Clock, Ids, Live } from '../ports/runtime.ts'
import { drive } from '../replay/drive.ts'
import type { Driven, Runtime } from '../replay/runtime.ts'
import type { Extension } from '../replay/run.ts'
import { startRun } from '../replay/start.ts'
import type { AnyWorkflow, Workflow } from '../replay/workflow.ts'
import { assertGrants, type Grant } from '../grants/grant.ts'
import { halted } from '../policy/halts.ts'
import type { OutputOf } from './correct.ts'
import { haltsOf } from './rooms.ts'
import { statusBoard } from './status.ts'
import { runHandle, type HandleDeps, type RunHandle } from './handle.ts'

export interface StartOptions {
  /** Letters, digits and . _ : ~ -; the same id with the same input finds the run that is there. Made up unless given. */
  readonly id?: string
  readonly tags?: readonly string[]
  /** Higher goes first; 0 unless said. */
  readonly priority?: number
  /** Milliseconds since the epoch before which it does not begin. */
  readonly notBefore?: number
  readonly by?: Actor
  /** What is known of the input's origin: trusted and seen by anyone unless said. */
  readonly labels?: Labels
  /** Narrows what may be done in the run, and in its children; it can give nothing. */
  readonly grants?: readonly Grant[]
}

/** What the app room needs from a composition root; everything a test may want to replace. */
export interface AppParts {
  readonly tenant: string
  readonly workflows: Readonly<Record<string, AnyWorkflow>>
  readonly openLedger: () => Promise<Ledger>
  readonly dispatcher: (ledger: Ledger) => Promise<Dispatcher>
  readonly extend: (app: { readonly ledger: Ledger; readonly live: Live }, driven: Driven) => readonly Extension[]
  readonly clock: Clock
  readonly ids: Ids
  readonly live: Live
  readonly redact: (value: Json) => Json
  readonly probe?: Probe | undefined
  /** What a fork's corrections are held against. */
  readonly outputOf?: OutputOf | undefined
  /** Whether starting a run also drives it in this process; true unless said. */
  readonly drives: boolean
  readonly onTrouble: (run: StreamRef, error: ConvokeError) => void
  readonly onClose?: (() => Promise<void>) | undefined
}

export interface App {
  readonly tenant: string
  /** @throws INPUT_INVALID, RUN_EXISTS, WORKFLOW_UNKNOWN */
  start<I, O>(workflow: Workflow<I, O> | string, input: I, options?: StartOptions): Promise<RunHandle<O>>
  /** A handle on a run that may or may not exist. */
  run<O = unknown>(id: string): Promise<RunHandle<O>>
  runs(filter?: Omit<RunFilter, 'tenant'>): Promise<RunRow[]>
  /** Drives what is ready, here, until `close`. */
  work(): Promise<void>
  /** Resolves when nothing is ready and nothing is driven here. */
  idle(): Promise<void>
  ledger(): Promise<Ledger>
  /** Resolves when `close` has been called and everything has come to rest. */
  readonly closed: Promise<void>
  /** Stops driving: what acted outside is settled, the rest is left for the next worker. Then closes the ledger. */
  close(): Promise<void>
}

function boundsOf(grants: readonly Grant[]): Json {
  assertGrants(grants, 'the start of a run')
  return [{ from: 'run', grants }] as unknown as Json
}

/** Whoever was ordered to stop does not begin. */
async function supervise(
  of: Pick<Runtime, 'ledger' | 'clock'>,
  ref: StreamRef,
  stop: (error: ConvokeError) => void,
): Promise<() => void> {
  const run = runIdOf(ref.stream)
  const halts = haltsOf(of, ref.tenant)
  const off = halts.watch(run, stop)
  const halt = await halts.current(run)
  if (halt !== undefined) stop(halted(run, halt))
  return off
}

interface Open {
  readonly ledger: Ledger
  readonly handles: HandleDeps
}

interface Working {
  readonly dispatcher: Dispatcher
  readonly leases: LeaseKeeper
}

interface LeaseKeeper {
  current(): Promise<Lease>
  release(): Promise<void>
}

/**
 * A worker incarnation whose lease has passed can never act again (R7): a process that was stopped for too long and goes
 * on does so as a new one.
 */
function leaseKeeper(ledger: Ledger, ids: Ids): LeaseKeeper {
  let held: Lease | undefined
  let renewing: Promise<Lease> | undefined
  return {
    async current() {
      if (held !== undefined && held.remaining() > 0) return held
      renewing ??= ledger.register(`w_${ids.next()}`).finally(() => (renewing = undefined))
      return (held = await renewing)
    },
    release: async () => held?.release(),
  }
}

/**
 * Composes ledger, dispatcher and the rooms' extensions into an app. Owns the opened ledger, the worker's lease and the
 * dispatcher; opens them at first use, so that making an app costs nothing.
 */
export function createApp(parts: AppParts): App {
  if (parts.tenant === '')
    throw new ConvokeError('TENANT_MISSING', 'the app names no tenant', {
      next: "leave it out for 'local', or name one",
    })
  const workflows = new Map<string, AnyWorkflow>()
  for (const workflow of Object.values(parts.workflows)) {
    if (workflows.has(workflow.name) && workflows.get(workflow.name) !== workflow)
      throw new ConvokeError('DEFINITION_INVALID', `two workflows are named ${workflow.name}`, {
        next: 'rename one of them',
      })
    workflows.set(workflow.name, workflow)
  }
  const status = statusBoard()
  let opening: Promise<Open> | undefined
  let working: Promise<Working> | undefined
  let closed = false
  let atRest!: () => void
  const rested = new Promise<void>((resolve) => (atRest = resolve))

  function open(): Promise<Open> {
    if (closed) throw new ConvokeError('LEDGER_CLOSED', 'the app is closed')
    return (opening ??= (async () => {
      const ledger = await parts.openLedger()
      ledger.onChange((changed) => status.anyChanged(changed))
      const handles: HandleDeps = {
        ledger,
        clock: parts.clock,
        ids: parts.ids,
        live: parts.live,
        redact: parts.redact,
        wake: async (ref) => {
          await (await working)?.dispatcher.wake(ref)
        },
        onStatus: (ref, listener) => status.on(ref, listener),
        digestOf: (name) => workflows.get(name),
        outputOf: parts.outputOf,
      }
      return { ledger, handles }
    })())
  }

  function work(): Promise<Working> {
    return (working ??= (async () => {
      const { ledger } = await open()
      const leases = leaseKeeper(ledger, parts.ids)
      await leases.current()
      const runtime: Omit<Runtime, 'lease'> = {
        ledger,
        clock: parts.clock,
        ids: parts.ids,
        live: parts.live,
        probe: parts.probe,
        redact: parts.redact,
        workflows,
        extend: (driven) => parts.extend({ ledger, live: parts.live }, driven),
        onTrouble: parts.onTrouble,
        onEnded: (ref, last) => status.ended(ref, last),
        supervise: (ref, stop) => supervise({ ledger, clock: parts.clock }, ref, stop),
      }
      const dispatcher = await parts.dispatcher(ledger)
      await dispatcher.start(async (ref, signal) => {
        status.driven(ref)
        const result = await leases.current().then(
          (lease) => drive({ ...runtime, lease }, ref, signal),
          (error: unknown) => {
            parts.onTrouble(ref, error as ConvokeError)
            return 'lost' as const
          },
        )
        status.changed(ref)
        return result
      })
      return { dispatcher, leases }
    })())
  }

  return {
    tenant: parts.tenant,
    closed: rested,
    async start<I, O>(workflow: Workflow<I, O> | string, input: I, options: StartOptions = {}) {
      const name = typeof workflow === 'string' ? workflow : workflow.name
      const its = workflows.get(name)
      if (its === undefined)
        throw new ConvokeError('WORKFLOW_UNKNOWN', `no workflow ${JSON.stringify(name)} in this app`, {
          details: { workflow: name, known: [...workflows.keys()] },
          next: workflows.size === 0 ? 'give the app its workflows' : `use one of: ${[...workflows.keys()].join(', ')}`,
        })
      const parsed = await its.parseInput(input)
      const { handles } = await open()
      const run = options.id ?? `r_${parts.ids.next()}`
      await startRun(
        {
          tenant: parts.tenant,
          run,
          workflow: its,
          input: parsed,
          actor: options.by ?? { kind: 'system', id: 'app' },
          ...(options.tags === undefined ? {} : { tags: options.tags }),
          ...(options.priority === undefined ? {} : { priority: options.priority }),
          ...(options.notBefore === undefined ? {} : { notBefore: options.notBefore }),
          ...(options.labels === undefined ? {} : { labels: joinLabels([options.labels]) }),
          ...(options.grants === undefined ? {} : { bounds: boundsOf(options.grants) }),
        },
        { ...handles, redact: parts.redact },
      )
      if (parts.drives) await (await work()).dispatcher.wake({ tenant: parts.tenant, stream: runStream(run) })
      return runHandle<O>(handles, parts.tenant, run)
    },
    run: async <O>(id: string) => runHandle<O>((await open()).handles, parts.tenant, id),
    runs: async (filter = {}) => (await open()).ledger.runs({ ...filter, tenant: parts.tenant }),
    work: async () => void (await work()),
    idle: async () => (await work()).dispatcher.idle(),
    ledger: async () => (await open()).ledger,
    async close() {
      if (closed) return rested
      closed = true
      const driving = await working?.catch(() => undefined)
      await driving?.dispatcher.stop()
      await driving?.leases.release()
      const opened = await opening?.catch(() => undefined)
      await opened?.ledger.close()
      await parts.onClose?.()
      status.close()
      atRest()
    },
  }
}
