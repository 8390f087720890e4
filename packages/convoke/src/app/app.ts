import { ConvokeError } from '../core/errors.ts'
import type { Json } from '../core/json.ts'
import type { Labels } from '../core/labels.ts'
import type { Actor } from '../core/record.ts'
import type { Dispatcher } from '../ports/dispatcher.ts'
import type { Ledger, RunFilter, StreamRef } from '../ports/ledger.ts'
import type { RunRow } from '../core/projections.ts'
import type { Probe } from '../ports/probe.ts'
import type { Clock, Ids, Live } from '../ports/runtime.ts'
import type { Runtime } from '../replay/runtime.ts'
import type { AnyWorkflow, Workflow } from '../replay/workflow.ts'
import type { Grant } from '../grants/grant.ts'
import type { OutputOf } from './correct.ts'
import type { RunHandle } from './handle.ts'
import type { OpenedApp } from './opened.ts'

// What a program has before anything is opened: the app's interface, and the checks that throw at once. All that it needs
// from then on is loaded while the ledger opens (opened.ts), since a ledger's thread starts on another core.

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
  /** Asked for once a ledger is being opened: what makes the methods that higher rooms add to each driven run. */
  readonly extend: () => Promise<Runtime['extend']>
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
  /**
   * Stops driving: what acted outside is settled, the rest is left for the next worker. Then closes the ledger, if the app
   * has opened it. What goes wrong on the way is thrown when all else is closed.
   */
  close(): Promise<void>
}

/**
 * Composes ledger, dispatcher and the rooms' extensions into an app. Owns whether it is open; opens at first use, so that
 * making an app costs nothing.
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
  let opening: Promise<OpenedApp> | undefined
  let closed = false
  let atRest!: () => void
  const rested = new Promise<void>((resolve) => (atRest = resolve))

  async function open(): Promise<OpenedApp> {
    if (closed) throw new ConvokeError('LEDGER_CLOSED', 'the app is closed')
    return (opening ??= (async () => {
      // Begun before anything is loaded: the thread starts while this one compiles, and makes what a run begins with.
      const coming = parts.openLedger()
      coming.catch(() => undefined)
      try {
        const [{ openedApp }, extend] = await Promise.all([import('./opened.ts'), parts.extend()])
        return openedApp({ parts, workflows, coming, extend })
      } catch (error) {
        // Nobody else would close it.
        await coming.then((ledger) => ledger.close()).catch(() => undefined)
        throw error
      }
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
      const opened = open()
      // Named while the ledger opens: the first random bytes of a process take Node a while.
      const run = options.id ?? `r_${parts.ids.next()}`
      return await (await opened).start<O>(its, parsed, { ...options, id: run })
    },
    run: async <O>(id: string) => (await open()).run<O>(id),
    runs: async (filter = {}) => (await (await open()).ledger()).runs({ ...filter, tenant: parts.tenant }),
    work: async () => (await open()).work(),
    idle: async () => (await open()).idle(),
    ledger: async () => (await open()).ledger(),
    async close() {
      if (closed) return rested
      closed = true
      const opened = await opening?.catch(() => undefined)
      try {
        await opened?.close()
      } finally {
        try {
          await parts.onClose?.()
        } finally {
          opened?.release()
          atRest()
        }
      }
    },
  }
}
