import type { Json, JsonObject } from '../core/json.ts'

// What a provider sends is foreign: it may hold what no record can (lone surrogates, unsafe integers, undefined, class
// instances). These turn it into data that canonical JSON accepts, so that a strange answer never ends a run.

const maxDepth = 100

/** @returns the value as plain JSON; numbers that JSON cannot carry exactly become strings */
export function foreignJson(value: unknown, depth = 0): Json {
  if (depth > maxDepth) return null
  switch (typeof value) {
    case 'string':
      return value.toWellFormed()
    case 'boolean':
      return value
    case 'number':
      return Number.isFinite(value) && (!Number.isInteger(value) || Number.isSafeInteger(value)) ? value : String(value)
    case 'bigint':
      return String(value)
    case 'object':
      if (value === null) return null
      if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString()
      if (value instanceof Uint8Array) return Buffer.from(value).toString('base64')
      return Array.isArray(value) ? value.map((item) => foreignJson(item, depth + 1)) : foreignObject(value, depth)
    default:
      return null
  }
}

function foreignObject(value: object, depth: number): JsonObject {
  const entries = Object.entries(value).filter(([, item]) => item !== undefined && typeof item !== 'function')
  return Object.fromEntries(entries.map(([key, item]) => [key.toWellFormed(), foreignJson(item, depth + 1)]))
}

/** Provider metadata as `providerData`: absent when there is none. */
export function providerData(metadata: unknown): { readonly providerData?: JsonObject } {
  if (typeof metadata !== 'object' || metadata === null || Object.keys(metadata).length === 0) return {}
  return { providerData: foreignObject(metadata, 0) }
}
