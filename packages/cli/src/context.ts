import { existsSync } from 'node:fs'
import { userInfo } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { convoke, ConvokeError, systemClock, type App, type ConvokeOptions, type Json, type Ledger } from 'convoke'
import { openSqliteLedger } from 'convoke/sqlite'
import { hintsFrom, loadConfig, type Config } from './config.ts'
import type { Format, Output } from './output.ts'

/** Options that every command takes. */
export interface Common {
  readonly store?: string
  readonly tenant?: string
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

/** What was said of the store on the command line or by CONVOKE_STORE. @throws STORE_UNUSABLE for an address */
function named(context: Context): string | undefined {
  const store = context.common.store ?? nonEmpty(context.env['CONVOKE_STORE'])
  if (store === undefined) return undefined
  const scheme = /^([a-z][a-z0-9+]*):\/\//i.exec(store)?.[1]?.toLowerCase()
  if (scheme !== undefined && scheme !== 'file')
    throw new ConvokeError('STORE_UNUSABLE', `this version has no store for ${scheme}:// addresses`, {
      details: { scheme },
      next: 'use a folder: --store DIR',
    })
  return resolve(context.cwd, scheme === 'file' ? new URL(store).pathname : store)
}

function nonEmpty(value: string | undefined): string | undefined {
  return value === undefined || value === '' ? undefined : value
}

/** Where the store is, without opening it; undefined when the configuration opens one of its own. */
export function storeDir(context: Context, config: Config | undefined): string | undefined {
  const said = named(context)
  if (said !== undefined) return said
  const { store } = config?.options ?? {}
  if (typeof store === 'function') return undefined
  return store === undefined ? join(context.cwd, '.convoke') : resolve(dirname((config as Config).file), store)
}

export function tenantOf(context: Context, config: Config | undefined): string {
  return context.common.tenant ?? nonEmpty(context.env['CONVOKE_TENANT']) ?? config?.options.tenant ?? 'local'
}

/** The store, for commands that need no app. It must be there. @throws STORE_UNUSABLE */
async function openStore(context: Context, config: Config | undefined): Promise<Opened> {
  const dir = storeDir(context, config)
  if (dir !== undefined && !existsSync(join(dir, 'ledger.db')))
    throw new ConvokeError('STORE_UNUSABLE', `there is no store in ${dir}`, {
      details: { dir },
      next: 'start a run with convoke run, or say where the store is with --store DIR',
    })
  const { store } = config?.options ?? {}
  const ledger =
    dir === undefined && typeof store === 'function' ? await store() : await openSqliteLedger({ dir: dir as string })
  return {
    ledger,
    tenant: tenantOf(context, config),
    redact: config?.options.redact ?? ((value) => value),
    dir,
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
    await config?.options.onClose?.()
  }
}

/** A configuration may place more beside the store (an outbox, say), so it is told where that is. */
function tellStore(context: Context): string | undefined {
  const said = named(context)
  if (said !== undefined) process.env['CONVOKE_STORE'] = said
  return said
}

/** The app that the configuration describes, with what the command line says on top. @throws CONFIG_MISSING, CONFIG_INVALID */
export async function openApp(
  context: Context,
  onTrouble: NonNullable<ConvokeOptions['onTrouble']>,
): Promise<{ readonly app: App; readonly config: Config; readonly dir: string | undefined }> {
  tellStore(context)
  const config = await loadConfig(context.cwd, context.common.app)
  const dir = storeDir(context, config)
  try {
    const app = convoke({
      ...config.options,
      ...(dir === undefined ? {} : { store: dir }),
      tenant: tenantOf(context, config),
      onTrouble,
    })
    return { app, config, dir }
  } catch (error) {
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
