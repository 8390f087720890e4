// How values cross to Postgres and back. Postgres text cannot hold U+0000; ids, names and keys that do are written with
// an escape, so that every string that the other ledgers take fits here as well.

const mark = '\u{10FFFF}'

export function toText(text: string): string {
  if (!text.includes('\0') && !text.includes(mark)) return text
  return text.replaceAll(mark, `${mark}1`).replaceAll('\0', `${mark}0`)
}

export function fromText(text: string): string {
  if (!text.includes(mark)) return text
  return text.replaceAll(`${mark}0`, '\0').replaceAll(`${mark}1`, mark)
}

/** A value whose JSON jsonb takes: it knows no U+0000 either. */
export function toJsonb<T>(value: T): T {
  const text = JSON.stringify(value)
  return text.includes('\\u0000') || text.includes(mark) ? (mapped(value, toText) as T) : value
}

export function fromJsonb(text: string): unknown {
  const value: unknown = JSON.parse(text)
  return text.includes(mark) ? mapped(value, fromText) : value
}

function mapped(value: unknown, map: (text: string) => string): unknown {
  if (typeof value === 'string') return map(value)
  if (Array.isArray(value)) return value.map((item) => mapped(item, map))
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).filter(([, item]) => item !== undefined)
  return Object.fromEntries(entries.map(([key, item]) => [map(key), mapped(item, map)]))
}

/** An array of Postgres (https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO) of numbers or booleans. */
export function plainArray(values: readonly (number | string | null)[]): string {
  return `{${values.map((value) => value ?? 'NULL').join(',')}}`
}

export function textArray(values: readonly (string | null)[]): string {
  let out = '{'
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as string | null
    out += (i === 0 ? '' : ',') + (value === null ? 'NULL' : quoted(value))
  }
  return out + '}'
}

const special = /["\\]/g
function quoted(text: string): string {
  return `"${text.replace(special, '\\$&')}"`
}
