import { emptyHash, isProjected, type Change } from 'convoke/adapter'
import type { Row } from './database.ts'
import { changesOf } from './prepare.ts'
import { hexOf, recordColumns, type Reads } from './reads.ts'
import { fromText, textArray, toJsonb, toText } from './text.ts'

/** What the records of these streams say to the projections, in commit order; `stream` is the stream's id. */
export async function changedRuns(
  on: {
    readonly query: (text: string, values: readonly unknown[]) => Promise<readonly Row[]>
    readonly schema: string
    readonly reads: Pick<Reads, 'decode' | 'getBlob'>
  },
  tenant: string,
  names: readonly string[],
  only: { readonly archived: boolean; readonly kind?: Change['kind'] },
): Promise<readonly object[]> {
  const { query, schema, reads } = on
  const rows = await query(
    `SELECT ${recordColumns(schema)},
       (SELECT p.sums FROM ${schema}.records p WHERE p.stream = r.stream AND p.seq = r.seq - 1), s.name
     FROM ${schema}.streams s JOIN ${schema}.records r ON r.stream = s.id JOIN ${schema}.shapes h ON h.id = r.shape
     WHERE s.tenant = $1 AND s.name = ANY ($2::text[]) AND (s.archived <> 0) = $3
       AND (s.name LIKE 'inbox/%' OR h.text LIKE '[1,"run.%' OR h.text LIKE '[1,"approval.%') ORDER BY r.position`,
    [toText(tenant), textArray(names.map(toText)), only.archived],
  )
  const records = await reads.decode(
    rows,
    (row) => ({ tenant, stream: fromText(row[14] as string) }),
    (row) => (row[1] === '1' ? emptyHash : hexOf(row[13]).slice(0, 64)),
  )
  const changes: object[] = []
  for (const [at, record] of records.entries()) {
    if (record.salt === '' || !isProjected(record.stream, record.type)) continue
    const bytes = record.spill === undefined ? undefined : await reads.getBlob(tenant, record.spill)
    // Content that was erased says nothing any more.
    if (record.spill !== undefined && bytes === undefined) continue
    const payload: unknown = bytes === undefined ? record.payload : JSON.parse(Buffer.from(bytes).toString('utf8'))
    for (const change of changesOf({ ...record, payload: payload as typeof record.payload }))
      if (only.kind === undefined || (change as { readonly kind: string }).kind === only.kind)
        changes.push(toJsonb({ stream: Number(rows[at]?.[12]), ...change }))
  }
  return changes
}
