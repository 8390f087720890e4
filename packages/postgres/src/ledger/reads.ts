import {
  ConvokeError,
  deepFreeze,
  emptyHash,
  emptyHead,
  faultOf,
  parseCauses,
  sha256,
  type Head,
  type Json,
  type LedgerRecord,
  type StreamRef,
} from 'convoke/adapter'
import type { Database, Row } from './database.ts'
import { createGroups, type Outcome } from './groups.ts'
import { checkTenant, placeOf } from './prepare.ts'
import type { Shapes } from './shapes.ts'
import { fromText, plainArray, textArray, toText } from './text.ts'

// Reads records and proves them: position, chain, header hash, payload commitment.

export interface Reads {
  /** @throws LEDGER_CORRUPT, RECORD_UNSUPPORTED */
  read(ref: StreamRef, options?: { from?: number; limit?: number; outline?: boolean }): Promise<LedgerRecord[]>
  head(ref: StreamRef): Promise<Head>
  heads(tenant: string, options?: { after?: string; limit?: number }): Promise<(Head & { readonly stream: string })[]>
  getBlob(tenant: string, hash: string): Promise<Uint8Array | undefined>
  dependents(tenant: string, ref: string): Promise<string[]>
  /** Rows in the order of `recordColumns`, as records of these streams. */
  decode(rows: readonly Row[], nameOf: (row: Row) => StreamRef, prevOf: (row: Row) => string): Promise<LedgerRecord[]>
}

const pageSize = 500
/**
 * Streams that are read at once, and records of each: with payloads of nearly 64 KiB in all of them, 64 MB. Whoever has
 * more asks for the rest alone.
 */
const [sharedStreams, sharedSize] = [50, 20]

interface Page {
  readonly place: readonly [tenant: string, name: string]
  readonly from: number
  readonly limit: number
  readonly outline: boolean
}

interface First {
  readonly rows: readonly Row[]
  /** There is nothing behind them. */
  readonly isAll: boolean
}

/** Of a record \`r\`; blobs by their hashes. */
export function recordColumns(schema: string): string {
  return `r.position, r.seq, r.epoch, r.at, r.shape, r.sums, r.path, r.fold, r.causes,
    CASE WHEN r.blobs IS NOT NULL THEN (SELECT string_agg(coalesce(encode(b.hash, 'hex'), 'missing'), ' ' ORDER BY i.ordinality)
      FROM unnest(r.blobs) WITH ORDINALITY AS i(id, ordinality) LEFT JOIN ${schema}.blobs b ON b.id = i.id) END,
    CASE WHEN r.spill IS NOT NULL THEN (SELECT encode(b.hash, 'hex') FROM ${schema}.blobs b WHERE b.id = r.spill) END,
    r.payload, r.stream`
}

/** The id of the stream $2 of tenant $1. @throws RUN_ARCHIVED */
export function ownStream(schema: string): string {
  return `(SELECT CASE WHEN s.archived = 0 THEN s.id ELSE ${schema}.archived_1(s.name) END FROM ${schema}.streams s
    WHERE s.tenant = $1 AND s.name = $2)`
}

export function createReads(database: Database, schema: string, shapes: Shapes): Reads {
  const own = ownStream(schema)
  const columns = recordColumns(schema)
  const before = `(SELECT p.sums FROM ${schema}.records p WHERE p.stream = r.stream AND p.seq = r.seq - 1)`
  const all = `SELECT ${columns}, CASE WHEN r.seq = $3 THEN ${before} END FROM ${schema}.records r
    WHERE r.stream = ${own} AND r.seq >= $3 ORDER BY r.seq LIMIT $4`
  const outer = `SELECT ${columns}, ${before} FROM ${schema}.records r WHERE r.stream = ${own} AND r.seq >= $3
    AND (r.fold IS NULL OR NOT EXISTS (SELECT FROM ${schema}.folds f WHERE f.stream = r.stream AND f.path = r.fold))
    ORDER BY r.seq LIMIT $4`

  async function decode(
    rows: readonly Row[],
    nameOf: (row: Row) => StreamRef,
    prevOf: (row: Row) => string,
  ): Promise<LedgerRecord[]> {
    await shapes.load(rows.map((row) => Number(row[4])))
    return rows.map((row) => toRecord(row, nameOf(row), prevOf(row), shapes))
  }

  const alone = ({ place, from, limit, outline }: Page): Promise<readonly Row[]> =>
    database.query({
      text: outline ? outer : all,
      values: [...place, from, limit],
      name: `convoke ${schema} ${outline ? 'outline' : 'read'}`,
    })

  async function together(pages: readonly Page[]): Promise<readonly Outcome<First>[]> {
    const size = Math.min(sharedSize, Math.max(...pages.map(({ limit }) => limit)))
    const rows = await database.query({
      text: `SELECT * FROM ${schema}.reads_1($1, $2, $3, $4, $5)`,
      values: [
        textArray(pages.map(({ place: [tenant] }) => tenant)),
        textArray(pages.map(({ place: [, name] }) => name)),
        plainArray(pages.map(({ from }) => from)),
        plainArray(pages.map(({ outline }) => (outline ? 't' : 'f'))),
        size,
      ],
      name: `convoke ${schema} reads`,
    })
    const found = pages.map(() => [] as Row[])
    for (const row of rows) found[Number(row[14]) - 1]?.push(row)
    return pages.map(({ limit }, at) => {
      const its = found[at] as Row[]
      return { value: { rows: its.slice(0, limit), isAll: its.length < size } }
    })
  }

  /** Runs that wake in numbers are read in numbers: the first page of each, one round trip. */
  const firsts = createGroups<Page, First>({
    lanes: 2,
    maxItems: sharedStreams,
    maxBytes: Infinity,
    keysOf: () => [],
    sizeOf: () => 1,
    async write(pages) {
      if (pages.length > 1)
        try {
          return await together(pages)
        } catch (error) {
          if (!(error instanceof ConvokeError) || error.handling === 'unreachable') throw error
          // One that cannot be read is no matter of the others.
        }
      return await Promise.all(
        pages.map((page) =>
          alone(page).then(
            (rows) => ({ value: pageOf(rows, page.limit) }),
            (error: unknown) => ({ error }),
          ),
        ),
      )
    },
  })

  async function read(
    ref: StreamRef,
    { from = 1, limit = 1_000, outline = false }: { from?: number; limit?: number; outline?: boolean } = {},
  ): Promise<LedgerRecord[]> {
    const place = placeOf(ref)
    const out: LedgerRecord[] = []
    let next = Math.max(1, from)
    while (out.length < limit) {
      const wanted = Math.min(pageSize, limit - out.length)
      const page = { place, from: next, limit: wanted, outline }
      const { rows, isAll } = out.length === 0 ? await firsts.add(page) : pageOf(await alone(page), wanted)
      let hash = out.at(-1)?.hash
      let seq = out.at(-1)?.seq ?? 0
      const prevs = new Map<Row, string>()
      for (const row of rows) {
        const at = Number(row[1])
        if (!outline && at !== next) throw gapAt(ref, next, at)
        prevs.set(row, hash !== undefined && at === seq + 1 ? hash : prevOf(row[13], at))
        hash = hexOf(row[5]).slice(0, 64)
        seq = at
        next = at + 1
      }
      out.push(
        ...(await decode(
          rows,
          () => ref,
          (row) => prevs.get(row) as string,
        )),
      )
      if (isAll) break
    }
    return out
  }

  return {
    decode,
    read,
    async head(ref) {
      const [row] = await database.query({
        text: `SELECT seq, hash FROM ${schema}.streams WHERE tenant = $1 AND name = $2 AND seq > 0`,
        values: placeOf(ref),
        name: `convoke ${schema} head`,
      })
      return row === undefined ? emptyHead : { seq: Number(row[0]), hash: hexOf(row[1]) }
    },
    async heads(tenant, { after = '', limit = 1_000 } = {}) {
      const rows = await database.query({
        text: `SELECT name, seq, hash FROM ${schema}.streams WHERE tenant = $1 AND name > $2 AND seq > 0 ORDER BY name LIMIT $3`,
        values: [toText(checkTenant(tenant)), toText(after), limit],
      })
      return rows.map(([name, seq, hash]) => ({
        stream: fromText(name as string),
        seq: Number(seq),
        hash: hexOf(hash),
      }))
    },
    async getBlob(tenant, hash) {
      checkTenant(tenant)
      if (!/^[0-9a-f]{64}$/.test(hash)) return undefined
      const [row] = await database.query({
        text: `SELECT bytes FROM ${schema}.blobs WHERE tenant = $1 AND hash = decode($2, 'hex') AND bytes IS NOT NULL`,
        values: [toText(tenant), hash],
      })
      if (row === undefined) return undefined
      const bytes = Buffer.from(hexOf(row[0]), 'hex')
      if (sha256(bytes) !== hash)
        throw new ConvokeError('LEDGER_CORRUPT', `the stored bytes of blob ${hash} have another hash`, {
          details: { tenant, hash },
          next: 'restore the store from a backup',
        })
      return bytes
    },
    async dependents(tenant, ref) {
      const rows = await database.query({
        text: `SELECT s.name, d.seq FROM ${schema}.dependents d JOIN ${schema}.streams s ON s.id = d.stream
          WHERE d.tenant = $1 AND d.ref = $2 ORDER BY s.name, d.seq`,
        values: [toText(checkTenant(tenant)), toText(ref)],
      })
      return rows.map(([name, seq]) => `${fromText(name as string)}@${seq as string}`)
    },
  }
}

function pageOf(rows: readonly Row[], wanted: number): First {
  return { rows, isAll: rows.length < wanted }
}

/** Of bytea as Postgres writes it: \`\\x\` and the digits. */
export function hexOf(bytes: string | null | undefined): string {
  return (bytes ?? '').slice(2)
}

function isNull(value: string | null | undefined): boolean {
  return value === null || value === undefined
}

function prevOf(sums: string | null | undefined, seq: number): string {
  return seq === 1 ? emptyHash : hexOf(sums).slice(0, 64)
}

function toRecord(row: Row, ref: StreamRef, prevHash: string, shapes: Shapes): LedgerRecord {
  const { tenant, stream } = ref
  const seq = Number(row[1])
  const fault = (why: string): ConvokeError => corrupt(ref, seq, why)
  const shape = shapes.get(Number(row[4]))
  if (shape === undefined) throw fault('the record cannot be decoded')
  if ((shape.v as number) !== 1)
    throw new ConvokeError('RECORD_UNSUPPORTED', `${stream}@${seq} has version ${shape.v}, known is 1`, {
      details: { tenant, stream, seq, version: shape.v },
      next: 'update Convoke',
    })
  const sums = hexOf(row[5])
  const salt = sums.slice(128)
  // An erased payload has no salt any more; what is stored in its place is of no account.
  const body = salt === '' ? 'null' : (row[11] as string)
  let record: LedgerRecord
  try {
    record = {
      v: shape.v,
      tenant,
      stream,
      seq,
      epoch: Number(row[2]),
      at: Number(row[3]),
      type: shape.type,
      critical: shape.critical,
      ...(isNull(row[6]) ? undefined : { path: fromText(row[6] as string) }),
      ...(isNull(row[7]) ? undefined : { fold: fromText(row[7] as string) }),
      causes: deepFreeze(parseCauses(row[8] ?? null, stream) as unknown as Json) as unknown as LedgerRecord['causes'],
      actor: shape.actor,
      labels: shape.labels,
      ...(isNull(row[9]) ? undefined : { blobs: Object.freeze((row[9] as string).split(' ')) }),
      ...(isNull(row[10]) ? undefined : { spill: row[10] as string }),
      payload: deepFreeze(JSON.parse(body) as Json),
      salt,
      commitment: sums.slice(64, 128),
      prevHash,
      hash: sums.slice(0, 64),
    }
  } catch {
    throw fault('the record cannot be decoded')
  }
  // A spilled payload is proved by its blob's own hash, which the header covers.
  const wrong = faultOf(record, { seq: seq - 1, hash: prevHash }, record.spill === undefined ? body : undefined)
  if (wrong !== undefined) throw fault(wrong)
  return Object.freeze(record)
}

function gapAt(ref: StreamRef, missing: number, found: number): ConvokeError {
  return corrupt(ref, missing, `seq ${found} follows ${missing - 1}`)
}

function corrupt({ tenant, stream }: StreamRef, seq: number, fault: string): ConvokeError {
  return new ConvokeError('LEDGER_CORRUPT', `${stream}@${seq}: ${fault}`, {
    details: { tenant, stream, seq, fault },
    next: 'compare with `convoke audit verify`, then restore the database from a backup',
  })
}
