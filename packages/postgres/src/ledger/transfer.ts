import {
  ConvokeError,
  emptyHash,
  exportItems,
  importItems,
  notEmpty,
  type LedgerRecord,
  type Transfer,
  type TransferBlob,
  type TransferRow,
  type TransferTable,
} from 'convoke/adapter'
import type { Appends } from './appends.ts'
import type { Database } from './database.ts'
import { prepareCopy } from './prepare.ts'
import { hexOf, recordColumns, type Reads } from './reads.ts'
import type { Shapes } from './shapes.ts'
import { fromJsonb, fromText, plainArray, textArray, toJsonb, toText } from './text.ts'

// Writes the store out and fills it from another. The mark `copy <tenant>` in the table `store` stands from the first
// item of a tenant to the last: nobody can claim a run of it meanwhile, and a copy broken off is known from a store in
// use. `copied <tenant>` stands from there to the end of the copy. Every call may be sent again.

/** From, name, part, value; of the tenant $1. */
const tables: Readonly<Record<TransferTable, readonly [from: string, name: string, part: string, value: string]>> = {
  epochs: ['$S.streams t', 't.name', "''", 't.epoch'],
  messages: ['$S.streams t JOIN $S.messages m ON m.stream = t.id', 't.name', 'm.id', 'm.seq'],
  uniques: ['$S.uniques t', 't.key', "''", 't.owner'],
  counters: ['$S.counters t', 't.counter', "''", 't.total'],
  counted: ['$S.counted t', 't.counter', 't.key', 't.added'],
  archives: ['(SELECT * FROM $S.streams WHERE archived <> 0) t', 't.name', "encode(t.hash, 'hex')", 't.archived'],
  rows: [`(SELECT * FROM $S.runs WHERE doc ? 'archived') t`, 't.run', "''", 't.doc'],
}

/** Of the tenant $1, names $2, parts $3, values $4. */
const fill: Readonly<Record<TransferTable, string>> = {
  epochs: `INSERT INTO $S.streams(tenant, name, epoch) SELECT $1::text, n, v::int FROM unnest($2::text[], $3::text[], $4::text[]) AS u(n, p, v)
    ON CONFLICT (tenant, name) DO UPDATE SET epoch = greatest(streams.epoch, excluded.epoch)`,
  messages: `INSERT INTO $S.messages(stream, id, seq) SELECT s.id, u.p, u.v::int
    FROM unnest($2::text[], $3::text[], $4::text[]) AS u(n, p, v) JOIN $S.streams s ON s.tenant = $1 AND s.name = u.n
    ON CONFLICT DO NOTHING`,
  uniques: `INSERT INTO $S.uniques(tenant, key, owner) SELECT $1::text, n, v FROM unnest($2::text[], $3::text[], $4::text[]) AS u(n, p, v)
    ON CONFLICT DO NOTHING`,
  counters: `INSERT INTO $S.counters(tenant, counter, total)
    SELECT $1::text, n, v::double precision FROM unnest($2::text[], $3::text[], $4::text[]) AS u(n, p, v)
    ON CONFLICT (tenant, counter) DO UPDATE SET total = excluded.total`,
  counted: `INSERT INTO $S.counted(tenant, counter, key, added)
    SELECT $1::text, n, p, v::double precision FROM unnest($2::text[], $3::text[], $4::text[]) AS u(n, p, v)
    ON CONFLICT DO NOTHING`,
  // Builds that know nothing of archives may not open the store any more.
  archives: `WITH older AS (UPDATE $S.store SET value = '6' WHERE key = 'oldest' AND value::int < 6)
    INSERT INTO $S.streams(tenant, name, seq, hash, archived)
    SELECT $1::text, n, v::int, decode(p, 'hex'), v::int FROM unnest($2::text[], $3::text[], $4::text[]) AS u(n, p, v)
    ON CONFLICT (tenant, name) DO UPDATE SET seq = excluded.seq, hash = excluded.hash, archived = excluded.archived`,
  rows: `INSERT INTO $S.runs(tenant, run, stream, workflow, status, priority, started, doc)
    SELECT $1::text, n, s.id, d->>'workflow', d->>'status', (d->>'priority')::double precision,
        (d->>'startedAt')::double precision, d
      FROM (SELECT n, v::jsonb AS d FROM unnest($2::text[], $3::text[], $4::text[]) AS u(n, p, v)) AS u
      JOIN $S.streams s ON s.tenant = $1 AND s.name = 'run/' || u.n ON CONFLICT DO NOTHING`,
}

const markOf = (tenant: string): string => toText(`copy ${tenant}`)
const doneOf = (tenant: string): string => toText(`copied ${tenant}`)
const pageRows = 500
/** A page of rows goes through one query, which other work may slow down. */
const stallMs = 60_000

export function createTransfer(parts: {
  readonly database: Database
  readonly schema: string
  readonly reads: Reads
  readonly shapes: Shapes
  readonly putBlobs: Appends['putBlobs']
  readonly tenantKey: (tenant: string) => Promise<Uint8Array>
  readonly tell: () => void
}): Transfer {
  const { database, schema, reads, shapes, putBlobs, tenantKey, tell } = parts
  const query = (text: string, values: readonly unknown[] = []): ReturnType<Database['query']> =>
    database.query({ text: text.replaceAll('$S', schema), values, stallMs })

  async function tenants(): Promise<readonly string[]> {
    const rows = await query(`SELECT tenant FROM $S.streams UNION SELECT tenant FROM $S.tenants
      UNION SELECT tenant FROM $S.uniques UNION SELECT tenant FROM $S.counters UNION SELECT tenant FROM $S.blobs ORDER BY 1`)
    return rows.map(([tenant]) => fromText(tenant as string))
  }

  async function records(
    tenant: string,
    after: number,
  ): Promise<{ found: { position: number; record: LedgerRecord }[]; next: number }> {
    const rows = await query(
      `SELECT ${recordColumns(schema)},
         (SELECT p.sums FROM $S.records p WHERE p.stream = r.stream AND p.seq = r.seq - 1), s.name
       FROM $S.records r JOIN $S.streams s ON s.id = r.stream
       WHERE r.position > $1 AND s.tenant = $2 ORDER BY r.position LIMIT ${pageRows}`,
      [after, toText(tenant)],
    )
    const decoded = await reads.decode(
      rows,
      (row) => ({ tenant, stream: fromText(row[14] as string) }),
      (row) => (row[1] === '1' ? emptyHash : hexOf(row[13]).slice(0, 64)),
    )
    const found = decoded.map((record, at) => ({ position: Number(rows[at]?.[0]), record }))
    return { found, next: found.at(-1)?.position ?? after }
  }

  async function blobs(tenant: string, after: number): Promise<{ found: TransferBlob[]; next?: number }> {
    // As many as have a few MB together, at least one.
    const rows = await query(
      `SELECT id, encode(hash, 'hex'), type, bytes FROM (
         SELECT *, sum(coalesce(length(bytes), 0)) OVER (ORDER BY id) - coalesce(length(bytes), 0) AS before FROM (
           SELECT * FROM $S.blobs WHERE tenant = $1 AND id > $2 ORDER BY id LIMIT 200) AS few) AS page
       WHERE before < 4000000 ORDER BY id`,
      [toText(tenant), after],
    )
    const found = rows.map(([, hash, type, bytes]) => ({
      hash: hash as string,
      mediaType: fromText(type as string),
      ...(bytes === null || bytes === undefined ? {} : { bytes: Buffer.from(hexOf(bytes), 'hex') }),
    }))
    const next = rows.at(-1)?.[0]
    return next === undefined || next === null ? { found } : { found, next: Number(next) }
  }

  async function rows(
    table: TransferTable,
    tenant: string,
    after: TransferRow | undefined,
    limit: number,
  ): Promise<readonly TransferRow[]> {
    const [from, name, part, value] = tables[table]
    // Keys may be empty: the first page takes them in.
    const sign = after === undefined ? '>=' : '>'
    const found = await query(
      `SELECT ${name}, ${part}, ${value} FROM ${from} WHERE t.tenant = $1
         AND (${name}, ${part} COLLATE "C") ${sign} ($2, $3) ORDER BY ${name}, ${part} COLLATE "C" LIMIT $4`,
      [toText(tenant), toText(after?.[0] ?? ''), toText(after?.[1] ?? ''), limit],
    )
    return found.map(([a, b, v]) => [fromText(a as string), fromText(b as string), valueOf(table, v as string)])
  }

  async function begin(tenant: string, key: Uint8Array): Promise<boolean> {
    const [row] = await query(
      `SELECT EXISTS (SELECT FROM $S.store WHERE key = $2), EXISTS (SELECT FROM $S.streams WHERE tenant = $1)
         OR EXISTS (SELECT FROM $S.uniques WHERE tenant = $1) OR EXISTS (SELECT FROM $S.counters WHERE tenant = $1)
         OR EXISTS (SELECT FROM $S.blobs WHERE tenant = $1),
         EXISTS (SELECT FROM $S.store s JOIN $S.tenants t ON t.tenant = $1 AND t.key = decode($4, 'hex') WHERE s.key = $3)`,
      [toText(tenant), markOf(tenant), doneOf(tenant), Buffer.from(key).toString('hex')],
    )
    if (row?.[2] === 't') return false
    if (row?.[0] === 'f' && row[1] === 't') throw notEmpty(tenant)
    await query(`INSERT INTO $S.store(key, value) VALUES ($1, '1') ON CONFLICT DO NOTHING`, [markOf(tenant)])
    await query(
      `INSERT INTO $S.tenants(tenant, key) VALUES ($1, decode($2, 'hex')) ON CONFLICT (tenant) DO UPDATE SET key = excluded.key`,
      [toText(tenant), Buffer.from(key).toString('hex')],
    )
    return true
  }

  async function writeRecords(
    tenant: string,
    list: readonly LedgerRecord[],
    given: readonly TransferBlob[],
  ): Promise<void> {
    if (list.length === 0) return
    const prepared = await prepareCopy(list, given, (hash) => reads.getBlob(tenant, hash))
    const shapeId = await shapes.ensure(prepared.map(({ shape }) => shape))
    const streams = new Map<string, { at: number; first: LedgerRecord; last: LedgerRecord }>()
    const places = list.map((record) => {
      const known = streams.get(record.stream)
      const stream = known ?? { at: streams.size + 1, first: record, last: record }
      if (known === undefined) streams.set(record.stream, stream)
      stream.last = record
      return stream.at
    })
    const ends = [...streams.values()]
    const texts = (of: (record: LedgerRecord) => string | undefined): string =>
      textArray(list.map((record) => optional(of(record))))
    const foreign = prepared.flatMap(({ record, foreign }, i) =>
      foreign.map((ref) => ({ at: places[i] as number, seq: record.seq, ref })),
    )
    const folds = prepared.flatMap(({ record, fold }, i) =>
      fold && record.path !== undefined ? [{ at: places[i] as number, path: record.path }] : [],
    )
    const changes = prepared.flatMap(({ changes }, i) => changes.map((change) => toJsonb({ s: places[i], ...change })))
    const [row] = await query(`SELECT $S.import_1(${Array.from({ length: 24 }, (_, i) => `$${i + 1}`).join(',')})`, [
      toText(tenant),
      textArray([...streams.keys()].map(toText)),
      plainArray(ends.map(({ first }) => first.seq)),
      plainArray(ends.map(({ first }) => first.prevHash)),
      plainArray(ends.map(({ last }) => last.seq)),
      plainArray(ends.map(({ last }) => last.hash)),
      plainArray(places),
      plainArray(list.map(({ seq }) => seq)),
      plainArray(list.map(({ epoch }) => epoch)),
      plainArray(list.map(({ at }) => at)),
      plainArray(prepared.map(({ shape }) => shapeId(shape))),
      plainArray(list.map(({ hash, commitment, salt }) => hash + commitment + salt)),
      texts(({ path }) => path),
      texts(({ fold }) => fold),
      textArray(prepared.map(({ causes }) => causes)),
      texts(({ blobs }) => (blobs === undefined || blobs.length === 0 ? undefined : blobs.join(' '))),
      texts(({ spill }) => spill),
      textArray(prepared.map(({ body }) => body)),
      plainArray(foreign.map(({ at }) => at)),
      plainArray(foreign.map(({ seq }) => seq)),
      textArray(foreign.map(({ ref }) => toText(ref))),
      plainArray(folds.map(({ at }) => at)),
      textArray(folds.map(({ path }) => toText(path))),
      JSON.stringify(changes),
    ])
    if (row?.[0] !== null && row?.[0] !== undefined) throw misfit(tenant, JSON.parse(row[0]) as readonly unknown[])
  }

  return {
    tenants,
    async held(tenant) {
      const [row] = await query(
        `SELECT count(*) FROM $S.streams s JOIN $S.workers w ON w.id = s.owner AND w.expires > clock_timestamp()
         WHERE $1::text IS NULL OR s.tenant = $1`,
        [tenant === undefined ? null : toText(tenant)],
      )
      return Number(row?.[0] ?? 0)
    },
    export: (only) =>
      exportItems(
        {
          tenants,
          tenantKey,
          position: async () => Number((await query('SELECT max(position) FROM $S.records'))[0]?.[0] ?? 0),
          records,
          blobs,
          rows,
        },
        only,
      ),
    import: async (items) =>
      await importItems(items, {
        begin,
        heads: (tenant, options) => reads.heads(tenant, options),
        async write(batch) {
          const { tenant } = batch
          await putBlobs(
            tenant,
            batch.blobs.flatMap((blob) => (blob.bytes === undefined ? [] : [{ ...blob, bytes: blob.bytes }])),
          )
          const erased = batch.blobs.filter(({ bytes }) => bytes === undefined)
          if (erased.length > 0)
            await query(
              `INSERT INTO $S.blobs(tenant, hash, type) SELECT $1::text, decode(h, 'hex'), t FROM unnest($2::text[], $3::text[]) AS u(h, t)
               ON CONFLICT DO NOTHING`,
              [
                toText(tenant),
                plainArray(erased.map(({ hash }) => hash)),
                textArray(erased.map(({ mediaType }) => toText(mediaType))),
              ],
            )
          await writeRecords(tenant, batch.records, batch.blobs)
          for (const [table, list] of Object.entries(batch.rows))
            if (list.length > 0)
              await query(fill[table as TransferTable], [
                toText(tenant),
                ...[0, 1].map((column) => textArray(list.map((row) => toText(String(row[column]))))),
                textArray(list.map(([, , value]) => textOf(table as TransferTable, value))),
              ])
        },
        async end(tenant) {
          await query(
            `WITH gone AS (DELETE FROM $S.store WHERE key = $1)
             INSERT INTO $S.store(key, value) VALUES ($2, '1') ON CONFLICT DO NOTHING`,
            [markOf(tenant), doneOf(tenant)],
          )
          tell()
        },
        async finish() {
          await query(`DELETE FROM $S.store WHERE starts_with(key, 'copied ')`)
        },
      }),
  }
}

function valueOf(table: TransferTable, value: string): string | number {
  if (table === 'uniques') return fromText(value)
  return table === 'rows' ? JSON.stringify(fromJsonb(value)) : Number(value)
}

function textOf(table: TransferTable, value: string | number): string {
  return table === 'rows' ? JSON.stringify(toJsonb(JSON.parse(String(value)))) : toText(String(value))
}

function optional(text: string | undefined): string | null {
  return text === undefined ? null : toText(text)
}

function misfit(tenant: string, [what, name, seq]: readonly unknown[]): ConvokeError {
  return what === 'blob'
    ? new ConvokeError('BLOB_MISSING', `a record refers to blob ${String(name)}, which is not stored`, {
        details: { hash: String(name) },
        next: 'copy the store as a whole',
      })
    : new ConvokeError(
        'STORE_UNUSABLE',
        `${String(name)} ends at ${String(seq)} in the copy, where its records do not fit`,
        {
          details: { tenant, stream: String(name), seq: Number(seq) },
          next: 'copy into an empty store',
        },
      )
}
