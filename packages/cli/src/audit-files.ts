import { closeSync, existsSync, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { ConvokeError, parseStrict } from 'convoke'
import { newSigningKey, parseCheckpoint, type Checkpoint } from 'convoke/views'
import type { Context, Opened } from './context.ts'

// Keys, checkpoints and exports as files.

export interface VerifyOptions {
  readonly against?: string
  readonly publicKey?: string
}

export interface ExportOptions {
  readonly key?: string
  readonly out?: string
  readonly maxBlob?: number
}

export function readText(context: Context, named: string, what: string): string {
  const file = resolve(context.cwd, named)
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw new ConvokeError('INPUT_INVALID', `${what} ${file} cannot be read: ${(error as Error).message}`, {
      details: { file },
      next: 'name a file that is there',
      cause: error,
    })
  }
}

/** A key itself, or a file that holds one. */
export function keyText(context: Context, given: string): string {
  return given.includes('-----BEGIN') || /^[A-Za-z0-9+/]{40,}={0,2}$/.test(given)
    ? given
    : readText(context, given, 'the public key')
}

/** What a verification is held against. */
export function trustOf(
  context: Context,
  { against, publicKey }: VerifyOptions,
): { readonly against?: Checkpoint; readonly publicKey?: string } {
  return {
    ...(against === undefined
      ? {}
      : { against: parseCheckpoint(parseStrict(readText(context, against, 'the checkpoint'))) }),
    ...(publicKey === undefined ? {} : { publicKey: keyText(context, publicKey) }),
  }
}

/** The key of the store, made at first use and readable by its owner only, or the one that is named. */
export function signingKey(
  context: Context,
  { dir }: Opened,
  named: string | undefined,
): { readonly key: string; readonly file: string; readonly made: boolean } {
  const file =
    named === undefined ? (dir === undefined ? undefined : join(dir, 'audit.key')) : resolve(context.cwd, named)
  if (file === undefined)
    throw new ConvokeError('USAGE', 'the configuration opens a store without a folder', {
      next: 'name a key: --key FILE',
    })
  if (existsSync(file)) return { key: readText(context, file, 'the signing key'), file, made: false }
  const key = newSigningKey()
  writeNew(file, key, 0o600, 'wx')
  return { key, file, made: true }
}

export function writeNew(file: string, text: string, mode: number, flags: 'w' | 'wx'): void {
  try {
    const handle = openSync(file, flags, mode)
    try {
      writeSync(handle, text)
      fsyncSync(handle)
    } finally {
      closeSync(handle)
    }
  } catch (error) {
    throw new ConvokeError('STORE_UNUSABLE', `${file} cannot be written: ${(error as Error).message}`, {
      details: { file },
      next: 'choose a file that this user may write',
      cause: error,
    })
  }
}
