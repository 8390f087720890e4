import { parseShape, type Shape } from 'convoke/adapter'
import type { Database } from './database.ts'
import { plainArray, textArray } from './text.ts'

// What few records differ in (type, actor, labels) is stored once. Owns which shapes are known here; they never change,
// and are committed before a record refers to them.

export interface Shapes {
  /** Makes these known to the store, and tells their ids. */
  ensure(texts: readonly string[]): Promise<(text: string) => number>
  /** Looks up what is not known here. */
  load(ids: readonly number[]): Promise<void>
  get(id: number): Shape | undefined
  forget(): void
}

const enough = 20_000

export function createShapes(database: Database, schema: string): Shapes {
  const ids = new Map<string, number>()
  const shapes = new Map<number, Shape>()
  const forget = (): void => ids.clear()
  database.onLost(forget)

  return {
    async ensure(texts) {
      if (ids.size > enough) ids.clear()
      const all = new Map<string, number | undefined>(texts.map((text) => [text, ids.get(text)]))
      const missing = [...all].filter(([, id]) => id === undefined).map(([text]) => text)
      if (missing.length > 0) {
        const [row] = await database.query({ text: `SELECT ${schema}.shapes_1($1)`, values: [textArray(missing)] })
        const found = JSON.parse(row?.[0] ?? '[]') as readonly number[]
        for (const [at, text] of missing.entries()) {
          all.set(text, found[at])
          ids.set(text, found[at] as number)
        }
      }
      return (text) => all.get(text) as number
    },
    async load(wanted) {
      const missing = [...new Set(wanted)].filter((id) => !shapes.has(id))
      if (missing.length === 0) return
      const rows = await database.query({
        text: `SELECT id, text FROM ${schema}.shapes WHERE id = ANY ($1::int[])`,
        values: [plainArray(missing)],
      })
      if (shapes.size > enough) shapes.clear()
      for (const [id, text] of rows) shapes.set(Number(id), parseShape(text as string))
    },
    get: (id) => shapes.get(id),
    forget,
  }
}
