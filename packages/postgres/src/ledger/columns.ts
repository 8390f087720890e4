import type { PreparedPart, Prepared } from './prepare.ts'
import { keyOf } from './prepare.ts'
import { plainArray, textArray, toJsonb, toText } from './text.ts'

// A group of appends as the columns that `append_1` takes (functions.ts).

/** Blobs beyond this do not travel with their append but before it. */
export const ownWayBytes: number = 256 * 1024

export interface Known {
  streamId(key: string): string | undefined
  /** @throws when it was not ensured before */
  shapeId(shape: string): number
}

type Text = string | null

export interface Columns {
  readonly values: readonly unknown[]
  /** Keys of the streams, in the order in which the store gives their ids. */
  readonly streams: readonly string[]
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')

export function toColumns(group: readonly Prepared[], known: Known): Columns {
  const streams = new Map<string, number>()
  const s = { id: [] as (string | null)[], tenant: [] as string[], name: [] as string[] }
  const p = { append: [] as number[], stream: [] as number[], epoch: [] as number[], first: [] as number[] }
  const ends = { prev: [] as string[], last: [] as number[], hash: [] as string[], refuse: [] as number[] }
  const r = { part: [] as number[], seq: [] as number[], at: [] as number[], shape: [] as number[] }
  const t = { sums: [] as string[], payload: [] as string[] }
  const o = { path: [] as Text[], fold: [] as Text[], causes: [] as Text[], blobs: [] as Text[], spill: [] as Text[] }
  const d = { part: [] as number[], seq: [] as number[], ref: [] as string[] }
  const f = { part: [] as number[], path: [] as string[] }
  const b = {
    append: [] as number[],
    tenant: [] as string[],
    hash: [] as string[],
    type: [] as string[],
    bytes: [] as string[],
  }
  const x = { guards: [] as object[], posts: [] as object[], changes: [] as object[] }

  function streamOf(ref: { readonly tenant: string; readonly stream: string }): number {
    const key = keyOf(ref)
    const at = streams.get(key)
    if (at !== undefined) return at
    const place = s.name.push(toText(ref.stream))
    s.tenant.push(toText(ref.tenant))
    s.id.push(known.streamId(key) ?? null)
    streams.set(key, place)
    return place
  }

  function addPart(append: number, { ref, epoch, records, refuse }: PreparedPart): void {
    const first = records[0]?.record
    const last = records.at(-1)?.record
    if (first === undefined || last === undefined) return
    const stream = streamOf(ref)
    const part = p.append.push(append)
    p.stream.push(stream)
    p.epoch.push(epoch)
    p.first.push(first.seq)
    ends.prev.push(first.prevHash)
    ends.last.push(last.seq)
    ends.hash.push(last.hash)
    ends.refuse.push(refuse)
    for (const { record, shape, body, causes, foreign, fold, changes } of records) {
      r.part.push(part)
      r.seq.push(record.seq)
      r.at.push(record.at)
      r.shape.push(known.shapeId(shape))
      t.sums.push(record.hash + record.commitment + record.salt)
      t.payload.push(body)
      o.path.push(record.path === undefined ? null : toText(record.path))
      o.fold.push(record.fold === undefined ? null : toText(record.fold))
      o.causes.push(causes)
      o.blobs.push(record.blobs === undefined || record.blobs.length === 0 ? null : record.blobs.join(' '))
      o.spill.push(record.spill ?? null)
      for (const cause of foreign) {
        d.part.push(part)
        d.seq.push(record.seq)
        d.ref.push(toText(cause))
      }
      if (fold && record.path !== undefined) {
        f.part.push(part)
        f.path.push(toText(record.path))
      }
      for (const change of changes) x.changes.push(toJsonb({ a: append, s: stream, ...change }))
    }
  }

  function addBlob(append: number, tenant: string, blob: Prepared['blobs'][number]): void {
    b.append.push(append)
    b.tenant.push(toText(tenant))
    b.hash.push(blob.hash)
    b.type.push(toText(blob.mediaType))
    b.bytes.push(hex(blob.bytes))
  }

  for (const [index, one] of group.entries()) {
    const a = index + 1
    for (const part of one.parts) addPart(a, part)
    for (const tenant of one.tenants) for (const blob of one.blobs) addBlob(a, tenant, blob)
    for (const guard of one.guards)
      x.guards.push(
        toJsonb(
          guard.kind === 'inbox'
            ? { a, kind: 'inbox', s: streamOf(guard.ref), seq: guard.seq, stream: guard.ref.stream }
            : { ...guard, a },
        ),
      )
    for (const post of one.posts) {
      const at = streamOf(post.ref)
      if (post.spilled !== undefined && post.spilled.bytes.length <= ownWayBytes)
        addBlob(a, post.ref.tenant, post.spilled)
      x.posts.push({
        a,
        s: at,
        id: toText(post.id),
        at: post.record.at,
        shape: known.shapeId(post.shape),
        before: post.before,
        after: post.after,
        commitment: post.record.commitment,
        salt: post.record.salt,
        causes: post.causes,
        foreign: post.foreign.map(toText),
        ...(post.spilled === undefined ? {} : { spill: post.spilled.hash }),
        payload: post.body,
        changes: post.changes.map((change) => toJsonb({ a, s: at, ...change })),
      })
    }
  }

  const rare = x.guards.length + x.posts.length + x.changes.length > 0
  return {
    streams: [...streams.keys()],
    values: [
      plainArray(s.id),
      textArray(s.tenant),
      textArray(s.name),
      plainArray(p.append),
      plainArray(p.stream),
      plainArray(p.epoch),
      plainArray(p.first),
      plainArray(ends.prev),
      plainArray(ends.last),
      plainArray(ends.hash),
      plainArray(ends.refuse),
      plainArray(r.part),
      plainArray(r.seq),
      plainArray(r.at),
      plainArray(r.shape),
      plainArray(t.sums),
      textArray(o.path),
      textArray(o.fold),
      textArray(o.causes),
      textArray(o.blobs),
      textArray(o.spill),
      textArray(t.payload),
      plainArray(d.part),
      plainArray(d.seq),
      textArray(d.ref),
      plainArray(f.part),
      textArray(f.path),
      plainArray(b.append),
      textArray(b.tenant),
      textArray(b.hash),
      textArray(b.type),
      textArray(b.bytes),
      rare
        ? JSON.stringify({ ...(x.guards.length > 0 ? { guards: x.guards } : {}), posts: x.posts, changes: x.changes })
        : null,
    ],
  }
}

/** What `append_one_1` (function-one.ts) takes; undefined when the group is anything but one plain append to a known stream. */
export function toOne(group: readonly Prepared[], known: Known): readonly unknown[] | undefined {
  const [one] = group
  const [part] = one?.parts ?? []
  if (one === undefined || part === undefined || group.length > 1 || one.parts.length > 1) return undefined
  if (one.blobs.length + one.guards.length + one.posts.length > 0 || part.refuse !== 0) return undefined
  const stream = known.streamId(keyOf(part.ref))
  const { records } = part
  const [first, last] = [records[0]?.record, records.at(-1)?.record]
  if (stream === undefined || first === undefined || last === undefined) return undefined
  const isPlain = ({ record, changes }: (typeof records)[number]): boolean =>
    changes.length === 0 && record.spill === undefined && (record.blobs === undefined || record.blobs.length === 0)
  if (!records.every(isPlain)) return undefined
  const text = (value: string | undefined): Text => (value === undefined ? null : toText(value))
  const foreign = records.flatMap(({ record, foreign: refs }) => refs.map((ref) => [record.seq, toText(ref)] as const))
  const folds = records.flatMap(({ record, fold }) => (fold && record.path !== undefined ? [toText(record.path)] : []))
  return [
    stream,
    part.epoch,
    first.seq,
    first.prevHash,
    last.seq,
    last.hash,
    plainArray(records.map(({ record }) => record.seq)),
    plainArray(records.map(({ record }) => record.at)),
    plainArray(records.map(({ shape }) => known.shapeId(shape))),
    plainArray(records.map(({ record }) => record.hash + record.commitment + record.salt)),
    textArray(records.map(({ record }) => text(record.path))),
    textArray(records.map(({ record }) => text(record.fold))),
    textArray(records.map(({ causes }) => causes)),
    textArray(records.map(({ body }) => body)),
    foreign.length === 0 ? null : plainArray(foreign.map(([seq]) => seq)),
    foreign.length === 0 ? null : textArray(foreign.map(([, ref]) => ref)),
    folds.length === 0 ? null : textArray(folds),
  ]
}
