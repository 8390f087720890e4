import { isConvokeError, type Clock, type Dispatcher, type Ledger } from 'convoke/adapter'
import { parseAddress } from './address.ts'
import { restateDispatcher } from './dispatcher.ts'
import { createEngine } from './engine.ts'
import type { Pin } from './names.ts'

/** What an app tells an engine that is found by its address. */
export interface RestateEngineOptions {
  readonly ledger: Ledger
  readonly clock: Clock
  readonly tenant: string
  readonly workflows: readonly Pin[]
  /** Runs driven at once in this process. */
  readonly concurrency?: number
  /** Told of what goes wrong outside any run. */
  readonly onTrouble?: (error: Error) => void
}

/** One thing that was looked at, as `convoke doctor` shows it. */
export interface EngineFinding {
  readonly name: string
  readonly state: 'ok' | 'warn' | 'bad'
  readonly says: string
  readonly code?: string
  /** What to do about it. */
  readonly next?: string
}

/**
 * The dispatcher on the Restate at `address`. Nothing is opened before it starts.
 * @throws ENGINE_UNKNOWN for an address that cannot be read; `start` throws ENGINE_UNREACHABLE
 */
export function openEngine(address: string, options: RestateEngineOptions): Promise<Dispatcher> {
  return Promise.resolve(restateDispatcher({ ...options, ...parseAddress(address) }))
}

/** Looks at the engine and changes nothing. Never rejects. */
export async function inspectEngine(address: string): Promise<readonly EngineFinding[]> {
  try {
    const target = parseAddress(address)
    const engine = createEngine(target)
    try {
      const { version } = await engine.check()
      const answers: EngineFinding = { name: 'engine', state: 'ok', says: `Restate ${version} at ${target.ingress}` }
      const [major, minor] = version.split('.').map(Number)
      if (major === 1 && (minor as number) >= 7) return [answers]
      const next = 'use a server of 1.7 or later'
      return [{ ...answers, state: 'warn', says: `${answers.says}; tested is 1.7`, next }]
    } finally {
      engine.close()
    }
  } catch (error) {
    const { message } = error as Error
    if (!isConvokeError(error)) return [{ name: 'engine', state: 'bad', says: message }]
    const next = error.next === undefined ? {} : { next: error.next }
    return [{ name: 'engine', state: 'bad', code: error.code, says: message, ...next }]
  }
}
