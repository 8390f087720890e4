import { createHash } from 'node:crypto'
import type { StreamRef } from 'convoke/adapter'

/** A workflow as a process has it: what a run is pinned to (R8). */
export interface Pin {
  readonly name: string
  readonly version: string
  readonly digest: string
}

/** Rises when handlers or their options change, so that the engine sees a new service and not a changed one. */
const protocol = 'convoke1'

/** Tells stores on one engine apart without giving the key away: a keyed hash would need a key that all workers have. */
export function scopeOf(tenantKey: Uint8Array): string {
  return createHash('sha256').update(protocol).update(tenantKey).digest('hex').slice(0, 16)
}

/**
 * The service of all runs that are pinned to one version of a workflow. So an engine hands them to workers that have that
 * version and to no others. `undefined` is the one service of workers that were told no versions.
 */
export function serviceOf(scope: string, pin: Pin | undefined): string {
  if (pin === undefined) return `${protocol}.any.${scope}`
  const text = JSON.stringify([scope, pin.name, pin.version, pin.digest])
  const hash = createHash('sha256').update(text).digest('hex').slice(0, 16)
  // The name is for people who look at the engine.
  return `${protocol}.${pin.name.replace(/[^A-Za-z0-9_-]/g, '_').slice(0, 40)}.${hash}`
}

/** The keyed object of a run: `tenant/run/id`. */
export function objectKey(run: StreamRef): string {
  return `${encodeURIComponent(run.tenant)}/${run.stream}`
}

export function runOf(objectKey: string): StreamRef {
  const at = objectKey.indexOf('/')
  return { tenant: decodeURIComponent(objectKey.slice(0, at)), stream: objectKey.slice(at + 1) }
}
