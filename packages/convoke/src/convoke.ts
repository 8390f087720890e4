import { createApp, type App } from './app/app.ts'
import { checkRooms, outputsOf, type RoomOptions } from './app/rooms.ts'
import { openEngineAt, openStoreAt, schemeOf } from './connect.ts'
import { ConvokeError } from './core/errors.ts'
import type { Json } from './core/json.ts'
import { envSecrets, scrubbing } from './gateway/secrets.ts'
import { openSqliteLedger } from './ledger-sqlite/index.ts'
import { lazyNetwork } from './net/lazy.ts'
import type { Dispatcher } from './ports/dispatcher.ts'
import type { Ledger, StreamRef } from './ports/ledger.ts'
import type { Probe } from './ports/probe.ts'
import type { Clock, Ids } from './ports/runtime.ts'
import type { AnyWorkflow } from './replay/workflow.ts'
import { systemClock } from './system/clock.ts'
import { systemIds } from './system/ids.ts'
import { liveBus } from './system/live.ts'

/** What an app is made of. Everything has a default but its workflows. */
export interface ConvokeOptions extends RoomOptions {
  /**
   * Folder of the embedded ledger; `.convoke` in the current folder unless said. Or the address of a database, such as
   * `postgres://user@host/database` with `@convoke/postgres` installed. Or a ledger of your own: asked for at the app's first use,
   * and closed with the app from then on.
   */
  readonly store?: string | (() => Promise<Ledger>)
  /** `local` unless said. */
  readonly tenant?: string
  readonly workflows: Readonly<Record<string, AnyWorkflow>>
  /** Runs before every append: returns what may be written. */
  readonly redact?: (value: Json) => Json
  /** Runs driven at once in this process; 64 unless said. */
  readonly concurrency?: number
  /** Whether starting a run also drives it here; true unless said. */
  readonly drives?: boolean
  /** `full` (default) survives power loss; `process-crash-only` does not. */
  readonly durability?: 'full' | 'process-crash-only'
  readonly leaseMs?: number
  /**
   * What hands runs to workers: `local` (in this process; the default), `postgres` (the database of `store`), or an
   * address such as `restate://host:8080` with `@convoke/restate` installed.
   */
  readonly engine?: string
  /** A dispatcher of your own, instead of `engine`. */
  readonly dispatcher?: (ledger: Ledger, clock: Clock) => Dispatcher | Promise<Dispatcher>
  readonly clock?: Clock
  readonly ids?: Ids
  readonly probe?: Probe
  /** Runs when the app closes, after everything has come to rest. */
  readonly onClose?: () => Promise<void>
  /** Told of runs that were stopped, and of errors that are in no run's stream. Printed as a warning unless given. */
  readonly onTrouble?: (run: StreamRef, error: ConvokeError) => void
}

/** Makes an app. Nothing is opened before it is first used. */
export function convoke(options: ConvokeOptions): App {
  const clock = options.clock ?? systemClock
  const ids = options.ids ?? systemIds(clock)
  const secrets = options.secrets ?? envSecrets(process.env)
  const scrubbed = scrubbing(secrets)
  const own = options.redact
  const redact = own === undefined ? scrubbed : (value: Json): Json => scrubbed(own(value))
  const store = options.store ?? '.convoke'
  const network = lazyNetwork()
  const rooms = checkRooms({ ...options, secrets }, network)
  const { durability, leaseMs, probe, concurrency } = options
  const tenant = options.tenant ?? 'local'
  const onTrouble =
    options.onTrouble ??
    ((run, error) =>
      process.emitWarning(`${run.stream}: ${error.message}${error.next === undefined ? '' : ` (${error.next})`}`, {
        type: 'ConvokeWarning',
        code: error.code,
      }))
  const common = { clock, ids, ...given({ probe, leaseMs }) }

  async function openLedger(): Promise<Ledger> {
    if (typeof store === 'function') return await store()
    if (schemeOf(store) !== undefined) return await openStoreAt(store, common)
    return await openSqliteLedger({ dir: store, ...common, ...given({ durability }) })
  }

  async function dispatcher(ledger: Ledger): Promise<Dispatcher> {
    if (options.dispatcher !== undefined) return await options.dispatcher(ledger, clock)
    if (options.engine === undefined || options.engine === 'local') {
      const { localDispatcher } = await import('./dispatch-local/dispatcher.ts')
      return localDispatcher({ ledger, clock, ...given({ concurrency }) })
    }
    return await openEngineAt(options.engine, {
      ledger,
      tenant,
      clock,
      ids,
      ...given({ concurrency, store: typeof store === 'string' ? store : undefined }),
      workflows: Object.values(options.workflows).map(({ name, version, digest }) => ({ name, version, digest })),
      onTrouble: (error) => onTrouble({ tenant, stream: 'engine/' + String(options.engine) }, toConvokeError(error)),
    })
  }
  return createApp({
    tenant,
    workflows: options.workflows,
    openLedger,
    dispatcher,
    extend: async () => (await import('./app/extensions.ts')).extensionsOf(rooms),
    clock,
    ids,
    live: liveBus({ redact }),
    redact,
    probe,
    outputOf: outputsOf(options),
    drives: options.drives ?? true,
    onClose: async () => {
      network.close()
      await options.onClose?.()
    },
    onTrouble,
  })
}

/** Types a configuration file's options; returns them as they are. */
export function defineConfig(options: ConvokeOptions): ConvokeOptions {
  return options
}

/** Without the members that are undefined. */
function given<T extends object>(members: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as never
}

function toConvokeError(error: Error): ConvokeError {
  return error instanceof ConvokeError ? error : new ConvokeError('LEDGER_IO', error.message, { cause: error })
}
