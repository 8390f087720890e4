import { parseRef, type CauseKind, type RecordRef } from '../core/record.ts'
import { readRef, readStream, type Readable } from './records.ts'

export interface Dependent {
  readonly ref: RecordRef
  readonly type: string
  readonly path?: string
  /** How it depends; the strongest of its causes first. */
  readonly kinds: readonly CauseKind[]
}

/**
 * Records that name this one as a cause, in its own stream and in others, in the order of their places. What merely
 * came after it is left out unless `control` is set.
 */
export async function dependentsOf(
  ledger: Readable,
  tenant: string,
  ref: RecordRef,
  options: { readonly control?: boolean } = {},
): Promise<readonly Dependent[]> {
  const { stream } = parseRef(ref)
  const inside = await readStream(ledger, tenant, stream)
  const outside = await Promise.all((await ledger.dependents(tenant, ref)).map((r) => readRef(ledger, tenant, r)))
  const found: Dependent[] = []
  for (const entry of [...inside, ...outside]) {
    if (entry === undefined) continue
    const kinds = entry.record.causes
      .filter((c) => c.ref === ref && (options.control === true || c.kind !== 'control'))
      .map((c) => c.kind)
    if (kinds.length === 0 || found.some((f) => f.ref === entry.ref)) continue
    const { path, type } = entry.record
    found.push({ ref: entry.ref, type, ...(path === undefined ? {} : { path }), kinds: [...new Set(kinds)] })
  }
  return found
}
