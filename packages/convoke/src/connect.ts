import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { ConvokeError } from './core/errors.ts'
import type { EngineModule, EngineOptions, StoreModule, StoreOptions } from './ports/adapters.ts'
import type { Dispatcher } from './ports/dispatcher.ts'
import type { Ledger } from './ports/ledger.ts'

// Which package an address belongs to. They are installed only where they are used, so they are asked for by name.

const packages: Readonly<Record<string, { readonly name: string; readonly keeps: boolean; readonly drives: boolean }>> =
  {
    postgres: { name: '@convoke/postgres', keeps: true, drives: true },
    postgresql: { name: '@convoke/postgres', keeps: true, drives: true },
    restate: { name: '@convoke/restate', keeps: false, drives: true },
  }

/** The scheme of an address such as `postgres://…`; undefined for a folder. Letters before a colon alone are a drive. */
export function schemeOf(text: string): string | undefined {
  return /^([a-z][a-z0-9+.-]*):\/\//i.exec(text)?.[1]?.toLowerCase()
}

/** The address without what must not be shown: passwords. */
export function shownAddress(address: string): string {
  return address.replace(/^([a-z][a-z0-9+.-]*:\/\/[^:@/?#]*):[^@/?#]*@/i, '$1:…@')
}

/** @throws STORE_UNUSABLE for an address of no known kind, ADAPTER_MISSING when its package is not installed */
export async function storeModule(address: string): Promise<StoreModule> {
  const scheme = schemeOf(address) ?? ''
  const known = Object.hasOwn(packages, scheme) ? packages[scheme] : undefined
  if (known?.keeps !== true)
    throw new ConvokeError('STORE_UNUSABLE', `there is no store for ${scheme}:// addresses`, {
      details: { scheme },
      next: 'use a folder, or postgres://user@host/database',
    })
  return await load<StoreModule>(known.name)
}

/** @throws ENGINE_UNKNOWN for a name or address of no known kind, ADAPTER_MISSING when its package is not installed */
export async function engineModule(engine: string): Promise<EngineModule> {
  const scheme = schemeOf(engine) ?? engine
  const known = Object.hasOwn(packages, scheme) ? packages[scheme] : undefined
  if (known?.drives !== true)
    throw new ConvokeError('ENGINE_UNKNOWN', `there is no engine ${JSON.stringify(shownAddress(engine))}`, {
      details: { engine: shownAddress(engine) },
      next: 'use local, postgres, or restate://host:port',
    })
  return await load<EngineModule>(known.name)
}

export async function openStoreAt(address: string, options: StoreOptions): Promise<Ledger> {
  return await (await storeModule(address)).openStore(address, options)
}

/** `postgres` alone means the database that keeps the ledger. */
export async function openEngineAt(engine: string, options: EngineOptions): Promise<Dispatcher> {
  const module = await engineModule(engine)
  const address = schemeOf(engine) === undefined ? options.store : engine
  if (address === undefined || schemeOf(address) === undefined)
    throw new ConvokeError('ENGINE_UNKNOWN', `engine ${engine} needs to know which database`, {
      details: { engine },
      next: `use it with --store ${engine}://…, or give its own address`,
    })
  return await module.openEngine(address, options)
}

/** Beside this package, or, where packages see only what they name themselves, from the folder of whoever runs it. */
async function load<Module>(name: string): Promise<Module> {
  try {
    return (await import(name)) as Module
  } catch (error) {
    if (!isMissing(error, name)) throw error
    const found = resolveFrom(process.cwd(), name)
    if (found !== undefined) return (await import(found)) as Module
    throw new ConvokeError('ADAPTER_MISSING', `${name} is not installed`, {
      details: { package: name },
      next: `npm install ${name}`,
      cause: error,
    })
  }
}

function isMissing(error: unknown, name: string): boolean {
  const { code, message } = error as NodeJS.ErrnoException
  return (code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND') && message.includes(name)
}

function resolveFrom(folder: string, name: string): string | undefined {
  try {
    return pathToFileURL(createRequire(join(folder, 'app.js')).resolve(name)).href
  } catch {
    return undefined
  }
}
