import { canonicalize } from '../core/canonical.ts'
import { sha256 } from '../core/hash.ts'
import type { Json, JsonObject } from '../core/json.ts'
import type { Blob } from '../core/record.ts'

/** The exact thing that would be done; approvals are bound to its canonical bytes (R10). */
export interface Action {
  readonly tool: string
  readonly version: string
  readonly input: Json
  readonly businessKey?: string
}

/** From this size on an action stands in a blob, so that a projection's row stays small. */
export const inlineBytes: number = 32 * 1024

export function actionJson(action: Action): JsonObject {
  return action as unknown as JsonObject
}

export function actionHash(action: Action, keyed: (text: string) => string): string {
  return keyed(`action\n${canonicalize(action)}`)
}

/** An action as it stands in records: itself, or a reference to the blob that holds its canonical bytes. */
export function storedAction(action: Action): { readonly stored: JsonObject; readonly blobs: readonly Blob[] } {
  const text = canonicalize(action)
  if (text.length * 3 < inlineBytes || Buffer.byteLength(text) < inlineBytes)
    return { stored: actionJson(action), blobs: [] }
  const bytes = Buffer.from(text)
  const hash = sha256(bytes)
  return {
    stored: { tool: action.tool, version: action.version, $blob: hash, bytes: bytes.length },
    blobs: [{ hash, bytes, mediaType: 'application/json' }],
  }
}

/** One place where two actions differ; a side that has nothing there is absent. */
export interface Difference {
  /** JSON Pointer (RFC 6901). */
  readonly pointer: string
  readonly before?: Json
  readonly after?: Json
}

/** Lists where two actions differ, member by member, in the order of their keys. */
export function diffActions(before: Json, after: Json): Difference[] {
  const found: Difference[] = []
  compare(before, after, '', found)
  return found
}

function compare(a: Json | undefined, b: Json | undefined, at: string, found: Difference[]): void {
  if (a === b) return
  const nested = typeof a === 'object' && typeof b === 'object' && a !== null && b !== null
  if (nested && Array.isArray(a) === Array.isArray(b)) {
    const one = a as Readonly<Record<string, Json>>
    const two = b as Readonly<Record<string, Json>>
    const keys = [...new Set([...Object.keys(one), ...Object.keys(two)])]
    if (!Array.isArray(a)) keys.sort()
    for (const key of keys)
      compare(
        Object.hasOwn(one, key) ? one[key] : undefined,
        Object.hasOwn(two, key) ? two[key] : undefined,
        `${at}/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`,
        found,
      )
    return
  }
  found.push({ pointer: at, ...(a === undefined ? {} : { before: a }), ...(b === undefined ? {} : { after: b }) })
}
