import type { EffectClass } from 'convoke'
import { unsupported, type Listed } from './operation.ts'
import type { Reconcile } from './reconcile.ts'

/** What a repeat of an operation does, when the app knows better than its method tells. */
export type DeclaredEffect =
  | 'read'
  | 'idempotent'
  | 'unsafe'
  /** The server honours this header; `Idempotency-Key` unless said. */
  | 'keyed'
  | { readonly effect: 'keyed'; readonly header: string }
  | {
      /** Another operation says whether it happened. */
      readonly effect: 'reconcilable'
      readonly reconcile: Reconcile
      /** Where the gateway's key travels, for servers that keep it and can be asked for it; nowhere unless said. */
      readonly header?: string
    }

export interface Effect {
  readonly class: EffectClass
  /** In which the idempotency key travels. */
  readonly header: string | undefined
  readonly reconcile: Reconcile | undefined
}

/**
 * By method, and by what the app declares: never by what a document or a server claims of itself.
 * @throws OPENAPI_UNSUPPORTED
 */
export function effectOf({ id, method }: Pick<Listed, 'id' | 'method'>, declared: DeclaredEffect | undefined): Effect {
  if (declared === undefined)
    return { class: ['GET', 'HEAD'].includes(method) ? 'read' : 'unsafe', header: undefined, reconcile: undefined }
  if (typeof declared === 'string')
    return { class: declared, header: declared === 'keyed' ? 'Idempotency-Key' : undefined, reconcile: undefined }
  const header = declared.header === undefined ? undefined : headerName(id, declared.header)
  if (declared.effect === 'keyed') return { class: 'keyed', header, reconcile: undefined }
  const { reconcile } = declared
  if (typeof reconcile?.arguments !== 'function' || typeof reconcile.happened !== 'function')
    throw unsupported(id, 'reconcilable needs `reconcile: { operation, arguments, happened }`')
  return { class: 'reconcilable', header, reconcile }
}

function headerName(operation: string, header: string): string {
  if (/^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/.test(header)) return header
  throw unsupported(operation, `${JSON.stringify(header)} is no name of a header`)
}
