import { projectionVersion } from 'convoke/adapter'
import { changedRuns } from './changed.ts'
import type { Database } from './database.ts'
import { createReads } from './reads.ts'
import { createShapes } from './shapes.ts'
import { fromText, textArray } from './text.ts'

// Writes the lists (runs, approvals, tags) anew from the records, while workers go on, also those of the version before.
//
// Some runs at a time: their streams are locked as an append locks them, their records are read, their rows replaced,
// and all of it is one transaction. So whoever looks sees a row of before or of after, and whoever appends waits for
// moments. What a worker of the version before writes afterwards, it writes as it always did, and leaves its version in
// the row (`v`); such rows are found and written anew by the next pass, which is due when the last such worker has gone.
// Until then a build reads rows of both versions: a new version of the projections may add to rows, not take away.
//
// Rows of archived runs stay as they are: their records are elsewhere.

const atOnce = 50

export interface Rebuilt {
  readonly runs: number
}

/** `all`: every run; otherwise those whose row is of an older version. */
export async function rebuildProjections(
  database: Database,
  schema: string,
  options: { readonly all: boolean },
): Promise<Rebuilt> {
  const query = (text: string, values: readonly unknown[] = []): ReturnType<Database['query']> =>
    database.query({ text: text.replaceAll('$S', schema), values, stallMs: 60_000 })
  const reads = createReads(database, schema, createShapes(database, schema))
  const old = options.all
    ? ''
    : `AND EXISTS (SELECT FROM $S.runs r WHERE r.stream = s.id AND r.v < ${projectionVersion})`
  let runs = 0
  for (const [tenant] of await query('SELECT DISTINCT tenant FROM $S.streams ORDER BY 1'))
    for (let after = 'run/'; ;) {
      const found = await query(
        `SELECT s.name FROM $S.streams s WHERE s.tenant = $1 AND s.name > $2 AND s.name < 'run0' AND s.archived = 0 AND s.seq > 0 ${old}
         ORDER BY s.name LIMIT ${atOnce}`,
        [tenant, after],
      )
      const names = found.map(([name]) => name as string)
      if (names.length > 0) await some(tenant as string, names)
      runs += names.length
      after = names.at(-1) ?? after
      if (names.length < atOnce) break
    }

  /** Names as the store has them. */
  async function some(tenant: string, names: readonly string[]): Promise<void> {
    const streams = names.flatMap((name) => [name, `inbox/${name.slice(4)}`])
    await database.use(async (plain) => {
      const inside = (text: string, values: readonly unknown[] = []): ReturnType<typeof plain> =>
        plain(text.replaceAll('$S', schema), values)
      await inside('BEGIN')
      await inside(
        'SELECT FROM $S.streams k WHERE k.tenant = $1 AND k.name = ANY ($2::text[]) ORDER BY k.id FOR UPDATE',
        [tenant, textArray(streams)],
      )
      const changes = await changedRuns({ query: inside, schema, reads }, fromText(tenant), streams.map(fromText), {
        archived: false,
      })
      await inside('SELECT $S.rebuild_1($1, $2, $3)', [
        tenant,
        textArray(names.map((name) => name.slice(4))),
        JSON.stringify(changes),
      ])
      await inside('COMMIT')
    })
  }

  await query(
    `INSERT INTO $S.store(key, value) VALUES ('projections', $1) ON CONFLICT (key) DO UPDATE SET value = excluded.value`,
    [String(projectionVersion)],
  )
  return { runs }
}

/** Runs whose row an older build wrote. */
export async function outdatedRows(
  query: (text: string) => Promise<readonly (readonly (string | null)[])[]>,
  schema: string,
): Promise<number> {
  const [row] = await query(
    `SELECT count(*) FROM ${schema}.runs WHERE v < ${projectionVersion} AND NOT doc ? 'archived'`,
  )
  return Number(row?.[0] ?? 0)
}
