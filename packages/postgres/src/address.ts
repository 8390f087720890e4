import type pg from 'pg'
import type { Where } from './ledger/errors.ts'
import { targetOf } from './ledger/open.ts'

/** A URL without the parameters that are ours, and those. */
export function partsOf(address: string): {
  readonly url: string
  readonly schema?: string
  readonly sessionUrl?: string
} {
  if (!URL.canParse(address)) return { url: address }
  const url = new URL(address)
  const schema = url.searchParams.get('schema')
  const sessionUrl = url.searchParams.get('sessionUrl')
  url.searchParams.delete('schema')
  url.searchParams.delete('sessionUrl')
  return {
    url: schema === null && sessionUrl === null ? address : url.toString(),
    ...(schema === null ? {} : { schema }),
    ...(sessionUrl === null ? {} : { sessionUrl }),
  }
}

/** @throws STORE_UNUSABLE */
export function targetOfAddress(address: string): { readonly config: pg.ClientConfig; readonly where: Where } {
  const { url, schema } = partsOf(address)
  return targetOf(url, schema)
}
