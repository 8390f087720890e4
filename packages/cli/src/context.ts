import { existsSync } from 'node:fs'
import { userInfo } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import {
  convoke,
  ConvokeError,
  openStoreAt,
  schemeOf,
  shownAddress,
  systemClock,
  systemIds,
  type App,
  type ConvokeOptions,
  type Json,
  type Ledger,
} from 'convoke'
import { openSqliteLedger } from 'convoke/sqlite'
import { closeConfig, hintsFrom, loadConfig, type Config } from './config.ts'
import type { Format, Output } from './output.ts'

/** Options that every command takes. */
export interface Common {
  readonly store?: string
  readonly tenant?: string
  readonly engine?: string
  readonly app?: string
  readonly output?: Format
}

/** One invocation: what was asked for, and where it is. */
export interface Context {
  readonly common: Common
  readonly cwd: string
  readonly env: Readonly<Record<string, string | undefined>>
  readonly out: Output
}

export interface Opened {
  readonly ledger: Ledger
  readonly tenant: string
  readonly redact: (value: Json) => Json
  readonly dir: string | undefined
  /** What the configuration says, where it was looked at. */
  readonly config: Config | undefined
}

/** Where a store is: a folder, the address of a database, or whatever the configuration opens. */
export type Place =
  | { readonly kind: 'folder'; readonly dir: string }
  | { readonly kind: 'address'; readonly address: string }
  | { readonly kind: 'own' }

/** A folder, taken from `base`, or an address. */
export function placeOf(store: string, base: string): Exclude<Place, { kind: 'own' }> {
  const scheme = schemeOf(store)
  if (scheme === undefined) return { kind: 'folder', dir: resolve(base, store) }
  if (scheme === 'file') return { kind: 'folder', dir: resolve(new URL(store).pathname) }
  return { kind: 'address', address: store }
}

/** What was said of the store on the command line or by CONVOKE_STORE. */
function named(context: Context): Place | undefined {
  const store = context.common.store ?? nonEmpty(context.env['CONVOKE_STORE'])
  return store === undefined ? undefined : placeOf(store, context.cwd)
}

function nonEmpty(value: string | undefined): string | undefined {
  return value === undefined || value === '' ? undefined : value
}

/** Where the store is, without opening it. */
export function storePlace(context: Context, config: Config | undefined): Place {
  const said = named(context)
  if (said !== undefined) return said
  const { store } = config?.options ?? {}
  if (typeof store === 'function') return { kind: 'own' }
  return store === undefined
    ? { kind: 'folder', dir: join(context.cwd, '.convoke') }
    : placeOf(store, dirname((config as Config).file))
}

/** How people are told where a store is: never with a password. */
export function shownPlace(place: Place): string {
  if (place.kind === 'own') return 'the store of the configuration'
  return place.kind === 'folder' ? place.dir : shownAddress(place.address)
}

/** What was said of the engine on the command line or by CONVOKE_ENGINE. */
export function engineOf(context: Context, config: Config | undefined): string | undefined {
  return context.common.engine ?? nonEmpty(context.env['CONVOKE_ENGINE']) ?? config?.options.engine
}

/** Opens a store that is there. @throws STORE_UNUSABLE, ADAPTER_MISSING and what the store says */
export async function openLedgerAt(place: Exclude<Place, { kind: 'own' }>): Promise<Ledger> {
  if (place.kind === 'address') return await openStoreAt(place.address, { clock, ids: systemIds(), migrate: false })
  if (!existsSync(join(place.dir, 'ledger.db')))
    throw new ConvokeError('STORE_UNUSABLE', `there is no store in ${place.dir}`, {
      details: { dir: place.dir },
      next: 'start a run with convoke run, or say where the store is with --store DIR',
    })
  return await openSqliteLedger({ dir: place.dir })
}

export function tenantOf(context: Context, config: Config | undefined): string {
  return context.common.tenant ?? nonEmpty(context.env['CONVOKE_TENANT']) ?? config?.options.tenant ?? 'local'
}

/** The store, for commands that need no app. It must be there, unless a folder may be `made`. @throws STORE_UNUSABLE */
async function openStore(context: Context, config: Config | undefined, made = false): Promise<Opened> {
  const place = storePlace(context, config)
  const { store } = config?.options ?? {}
  const ledger =
    place.kind === 'own'
      ? await (store as () => Promise<Ledger>)()
      : made && place.kind === 'folder'
        ? await openSqliteLedger({ dir: place.dir })
        : await openLedgerAt(place)
  return {
    ledger,
    tenant: tenantOf(context, config),
    redact: config?.options.redact ?? ((value) => value),
    dir: place.kind === 'folder' ? place.dir : undefined,
    config,
  }
}

/** `writes`: what people say is written, so it passes the configuration's redaction; `schemas`: and is held against them. */
export async function withStore<T>(
  context: Context,
  use: (opened: Opened) => Promise<T>,
  { writes = false, schemas = false }: { readonly writes?: boolean; readonly schemas?: boolean } = {},
): Promise<T> {
  const saysTenant = context.common.tenant ?? nonEmpty(context.env['CONVOKE_TENANT'])
  const config = await hintsFrom(context.cwd, context.common.app, [
    ...(tellStore(context) === undefined ? (['store'] as const) : []),
    ...(saysTenant === undefined ? (['tenant'] as const) : []),
    ...(writes ? (['redact'] as const) : []),
    ...(schemas ? (['agents', 'tools'] as const) : []),
  ])
  try {
    const opened = await openStore(context, config)
    try {
      return await use(opened)
    } finally {
      await opened.ledger.close()
    }
  } finally {
    await closeConfig(config)
  }
}

/** The store of a configuration that is loaded already; a folder that is not there yet is made. @throws STORE_UNUSABLE */
export async function withStoreOf<T>(
  context: Context,
  config: Config,
  use: (opened: Opened) => Promise<T>,
): Promise<T> {
  const opened = await openStore(context, config, true)
  try {
    return await use(opened)
  } finally {
    await opened.ledger.close()
  }
}

/** A configuration may place more beside the store (an outbox, say), so it is told where that is. */
export function tellStore(context: Context): string | undefined {
  const said = named(context)
  if (said === undefined || said.kind === 'own') return undefined
  return (process.env['CONVOKE_STORE'] = said.kind === 'folder' ? said.dir : said.address)
}

/** The app that the configuration describes, with what the command line says on top. @throws CONFIG_MISSING, CONFIG_INVALID */
export async function openApp(
  context: Context,
  onTrouble: NonNullable<ConvokeOptions['onTrouble']>,
): Promise<{ readonly app: App; readonly config: Config; readonly place: Place }> {
  tellStore(context)
  const config = await loadConfig(context.cwd, context.common.app)
  const place = storePlace(context, config)
  const engine = engineOf(context, config)
  try {
    const app = convoke({
      ...config.options,
      ...(place.kind === 'own' ? {} : { store: place.kind === 'folder' ? place.dir : place.address }),
      ...(engine === undefined ? {} : { engine }),
      tenant: tenantOf(context, config),
      onTrouble,
      onClose: () => closeConfig(config),
    })
    return { app, config, place }
  } catch (error) {
    await closeConfig(config)
    throw new ConvokeError(
      'CONFIG_INVALID',
      `${config.file}: ${error instanceof Error ? error.message : String(error)}`,
      {
        details: { file: config.file },
        next: (error instanceof ConvokeError ? error.next : undefined) ?? 'correct the configuration',
        cause: error,
      },
    )
  }
}

/** The run that is meant: its id, or the beginning or end of one, if only one is meant. @throws RUN_UNKNOWN */
export async function findRun({ ledger, tenant }: Opened, said: string): Promise<string> {
  if ((await ledger.run({ tenant, stream: `run/${said}` })) !== undefined) return said
  const near = said.length < 4 ? [] : await ledger.runs({ tenant, limit: 2_000 })
  const found = near.filter(({ run }) => run.startsWith(said) || run.endsWith(said)).map(({ run }) => run)
  if (found.length === 1) return found[0] as string
  throw new ConvokeError(
    'RUN_UNKNOWN',
    found.length === 0
      ? `no run ${said}`
      : `${said} could be ${found.slice(0, 3).join(', ')}${found.length > 3 ? ', …' : ''}`,
    { details: { run: said, found: found.slice(0, 20) }, next: 'convoke runs' },
  )
}

/** Who sits at this machine. */
export function osUser(env: Context['env']): string {
  try {
    return userInfo().username
  } catch {
    return nonEmpty(env['USER']) ?? 'somebody'
  }
}

export const clock: typeof systemClock = systemClock
