import { watch } from 'node:fs'
import { readFile, rename, writeFile } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { canonicalize, ConvokeError } from 'convoke/adapter'
import type { Json } from 'convoke'
import { hashOf, type Definition } from './definition.ts'

// A file beside the app's configuration, meant to be committed: what a person accepted is reviewed like a lock file, and
// is the same for every store and every worker. Whoever can write it decides which tools there are. It is replaced in one
// move, and read anew whenever it changes, and when a tool that does not fit it is called.

/** What a person accepted. */
export interface Pin {
  readonly hash: string
  readonly definition: Definition
  /** Tools that look like it, as `<server>.<tool>`, that the person knew of. */
  readonly rivals: readonly string[]
  readonly by: string
  /** ISO 8601. */
  readonly at: string
  /** What was accepted before, the oldest first: who accepted what stays on record when a tool changes. */
  readonly before?: readonly { readonly hash: string; readonly by: string; readonly at: string }[]
}

/** By `<server>.<tool>`. */
export type Pins = ReadonlyMap<string, Pin>

/** A new acceptance, with those that it takes the place of. */
export function acceptedNow(earlier: Pin | undefined, now: Omit<Pin, 'before'>): Pin {
  if (earlier === undefined) return now
  const { hash, by, at } = earlier
  return { ...now, before: [...(earlier.before ?? []), { hash, by, at }] }
}

/** No file is no pins. @throws CONFIG_INVALID */
export async function readPins(file: string): Promise<Pins> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return new Map()
    throw error
  }
  const wrong = (why: string): ConvokeError =>
    new ConvokeError('CONFIG_INVALID', `${file} is no file of pinned tools: ${why}`, {
      details: { file },
      next: 'take it back from version control, or delete it and accept the tools anew',
    })
  let data: { readonly version?: unknown; readonly tools?: Readonly<Record<string, Pin>> }
  try {
    data = JSON.parse(text) as typeof data
  } catch (error) {
    throw wrong(error instanceof Error ? error.message : String(error))
  }
  if (data.version !== 1 || typeof data.tools !== 'object') throw wrong('it is not of version 1')
  const pins = new Map(Object.entries(data.tools))
  for (const [ref, pin] of pins)
    if (!Array.isArray(pin.rivals) || typeof pin.definition !== 'object' || hashOf(pin.definition) !== pin.hash)
      throw wrong(`${ref} does not have the hash that it states`)
  return pins
}

/** Sorted, a tool's parts each on lines of their own, so that changes can be read in version control. */
export async function writePins(file: string, pins: Pins): Promise<void> {
  const tools = Object.fromEntries(
    [...pins]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([ref, pin]) => [ref, JSON.parse(canonicalize(pin as unknown as Json)) as Json]),
  )
  const made = `${file}.${process.pid}.new`
  await writeFile(made, `${JSON.stringify({ version: 1, tools }, null, 2)}\n`)
  await rename(made, file)
}

export function samePins(a: Pins, b: Pins): boolean {
  return a.size === b.size && JSON.stringify([...a]) === JSON.stringify([...b])
}

/**
 * Calls back when the file may have changed; returns what ends it. Its folder is watched, since the file is replaced. Where
 * nothing can be watched (no folder, a file system that tells nothing), nothing is told.
 */
export function watchPins(file: string, onChange: () => void): () => void {
  const name = basename(file)
  try {
    const watcher = watch(dirname(file), { persistent: false }, (_, changed) => {
      if (changed === null || changed === name) onChange()
    })
    watcher.on('error', () => watcher.close())
    return () => watcher.close()
  } catch {
    return () => undefined
  }
}
