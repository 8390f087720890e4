import { ConvokeError } from '../core/errors.ts'
import type { Json } from '../core/json.ts'
import { joinLabels } from '../core/labels.ts'
import { runStream } from '../core/projections.ts'
import { assertGrants, type Grant } from '../grants/grant.ts'
import type { Claimed, Dispatcher } from '../ports/dispatcher.ts'
import type { Ledger, Lease, StreamRef } from '../ports/ledger.ts'
import type { Ids } from '../ports/runtime.ts'
import { createBegun } from '../replay/begun.ts'
import { drive } from '../replay/drive.ts'
import type { Runtime } from '../replay/runtime.ts'
import { beginRun, prepareRun, type PreparedRun } from '../replay/start.ts'
import type { AnyWorkflow } from '../replay/workflow.ts'
import type { AppParts, StartOptions } from './app.ts'
import { supervise } from './halts.ts'
import { runHandle, type HandleDeps, type RunHandle } from './handle.ts'
import { statusBoard } from './status.ts'

/** How a run is to be started that has its id. */
type Named = StartOptions & { readonly id: string }

/** An app whose ledger is being opened: what `App` promises, from there on. All but `close` throws what opening throws. */
export interface OpenedApp {
  ledger(): Promise<Ledger>
  /** With an input that the workflow has parsed. */
  start<O>(workflow: AnyWorkflow, input: unknown, options: Named): Promise<RunHandle<O>>
  run<O>(id: string): Promise<RunHandle<O>>
  work(): Promise<void>
  idle(): Promise<void>
  close(): Promise<void>
  /** Those who still wait look once more, and find the ledger closed. */
  release(): void
}

interface LeaseKeeper {
  current(): Promise<Lease>
  /** The worker whose lease is held now, if one is. */
  worker(): string | undefined
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
      renewing ??= ledger
        .register(`w_${ids.next()}`)
        .then((lease) => (held = lease))
        .finally(() => (renewing = undefined))
      return await renewing
    },
    worker: () => (held !== undefined && held.remaining() > 0 ? held.worker : undefined),
    async release() {
      await renewing?.catch(() => undefined)
      await held?.release()
    },
  }
}

interface Open {
  readonly ledger: Ledger
  readonly leases: LeaseKeeper
  readonly handles: HandleDeps
}

/** Owns the ledger, the worker's lease and the dispatcher; the latter two begin with the first run that is driven here. */
export function openedApp(o: {
  readonly parts: AppParts
  readonly workflows: ReadonlyMap<string, AnyWorkflow>
  readonly coming: Promise<Ledger>
  readonly extend: Runtime['extend']
}): OpenedApp {
  const { parts, workflows, coming, extend } = o
  const status = statusBoard()
  const begun = createBegun(() => parts.clock.monotonic())
  let working: Promise<Dispatcher> | undefined
  /** What `working` has become. */
  let dispatcher: Dispatcher | undefined
  let closed = false

  const open = coming.then((ledger): Open => {
    ledger.onChange((changed) => {
      status.anyChanged(changed)
      begun.touch(changed)
    })
    const handles: HandleDeps = {
      ledger,
      clock: parts.clock,
      ids: parts.ids,
      live: parts.live,
      redact: parts.redact,
      wake: async (ref) => {
        await (await working)?.wake(ref)
      },
      onStatus: (ref, listener) => status.on(ref, listener),
      isTold: (ref) => status.isTold(ref),
      digestOf: (name) => workflows.get(name),
      outputOf: parts.outputOf,
    }
    return { ledger, leases: leaseKeeper(ledger, parts.ids), handles }
  })
  // Whoever asks for something hears of it.
  open.catch(() => undefined)

  async function beginWork(): Promise<Dispatcher> {
    const { ledger, leases } = await open
    await leases.current()
    const runtime: Omit<Runtime, 'lease'> = {
      ledger,
      clock: parts.clock,
      ids: parts.ids,
      live: parts.live,
      probe: parts.probe,
      begun,
      redact: parts.redact,
      workflows,
      extend,
      onTrouble: parts.onTrouble,
      onEnded: (ref, last) => status.ended(ref, last),
      supervise: (ref, stop) => supervise({ ledger, clock: parts.clock }, ref, stop),
    }
    const made = await parts.dispatcher(ledger)
    await made.start(async (ref, signal, claimed) => {
      status.driven(ref)
      const result = await leases.current().then(
        (lease) => drive({ ...runtime, lease }, ref, signal, claimed),
        (error: unknown) => {
          parts.onTrouble(ref, error as ConvokeError)
          return 'lost' as const
        },
      )
      status.changed(ref)
      return result
    })
    return (dispatcher = made)
  }

  /** False where somebody has to be woken for it. */
  async function beginHere(ref: StreamRef, prepared: PreparedRun, { notBefore }: Named): Promise<boolean> {
    const { ledger, leases } = await open
    const worker = ledger.begin === undefined || notBefore !== undefined ? undefined : leases.worker()
    const claimed = Promise.withResolvers<Claimed | undefined>()
    const hasPlace = worker !== undefined && (dispatcher?.reserve?.(ref, claimed.promise) ?? false)
    try {
      const beginning = beginRun(prepared, { ledger, begun, worker: hasPlace ? worker : undefined })
      // The first time, the worker is registered by the commit that begins the run.
      if (working === undefined) leases.current().catch(() => undefined)
      const { existed, claim } = await beginning
      if (!existed) status.begun(ref)
      if (worker !== undefined && claim !== undefined) claimed.resolve({ ...claim, worker })
      return claim !== undefined
    } finally {
      claimed.resolve(undefined)
    }
  }

  async function work(): Promise<Dispatcher> {
    if (closed && working === undefined) throw new ConvokeError('LEDGER_CLOSED', 'the app is closed')
    return (working ??= beginWork())
  }

  return {
    ledger: async () => (await open).ledger,
    async start(its, input, options) {
      const run = options.id
      const { tenant } = parts
      // Made while the ledger is being opened.
      const prepared = prepareRun(
        {
          tenant,
          run,
          workflow: its,
          input,
          actor: options.by ?? { kind: 'system', id: 'app' },
          ...(options.tags === undefined ? {} : { tags: options.tags }),
          ...(options.priority === undefined ? {} : { priority: options.priority }),
          ...(options.notBefore === undefined ? {} : { notBefore: options.notBefore }),
          ...(options.labels === undefined ? {} : { labels: joinLabels([options.labels]) }),
          ...(options.grants === undefined ? {} : { bounds: boundsOf(options.grants) }),
        },
        parts,
      )
      const { ledger, handles } = await open
      const ref = { tenant, stream: runStream(run) }
      if (!parts.drives) await beginRun(prepared, { ledger })
      else if (!(await beginHere(ref, prepared, options))) await (await work()).wake(ref)
      return runHandle(handles, tenant, run)
    },
    run: async (id) => runHandle((await open).handles, parts.tenant, id),
    work: async () => void (await work()),
    idle: async () => (await work()).idle(),
    async close() {
      closed = true
      await working?.catch(() => undefined)
      const its = await open.catch(() => undefined)
      try {
        await dispatcher?.stop()
        await its?.leases.release()
      } finally {
        await its?.ledger.close()
      }
    },
    release: () => status.close(),
  }
}

function boundsOf(grants: readonly Grant[]): Json {
  assertGrants(grants, 'the start of a run')
  return [{ from: 'run', grants }] as unknown as Json
}
