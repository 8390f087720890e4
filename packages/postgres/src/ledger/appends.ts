import {
  ConvokeError,
  type AppendOptions,
  type Blob,
  type InboxMessage,
  type Posted,
  type StreamAppend,
  type StreamRef,
} from 'convoke/adapter'
import type { Database } from './database.ts'
import { isForeign } from './errors.ts'
import { createGroups, type Outcome } from './groups.ts'
import { checkBlobs, checkTenant, keyOf, prepareAppend, preparePost, type Prepared } from './prepare.ts'
import { refusalOf, type Answer } from './refusals.ts'
import { ownWayBytes, toColumns, toOne } from './columns.ts'
import { plainArray, textArray, toText } from './text.ts'
import type { Shapes } from './shapes.ts'

// Writes records, messages and blobs. Owns what is known of stream ids. Everything it sends may be sent again: records
// are known by their hash, messages by their id and salt, guards by their owner or key. So a lost connection costs time.

export interface Appends {
  append(batch: readonly StreamAppend[], options?: AppendOptions): Promise<void>
  post(inbox: StreamRef, message: InboxMessage): Promise<Posted>
  putBlobs(tenant: string, blobs: readonly Blob[]): Promise<void>
  idle(): Promise<void>
  close(): void
}

interface Reply {
  readonly answers: readonly Answer[]
  readonly posted: readonly (readonly [append: number, seq: number, duplicate: boolean])[]
  readonly told: boolean
  readonly ids: readonly (number | string)[] | null
}

const enough = 50_000

export function createAppends(parts: {
  readonly database: Database
  readonly schema: string
  readonly lanes: number
  readonly shapes: Shapes
  readonly salt: () => string
  /** Something was committed; `told` are the streams in it of which others may want to know. */
  readonly committed: (told: readonly StreamRef[]) => void
  readonly probe?: ((point: string) => void) | undefined
}): Appends {
  const { database, schema, shapes, salt, committed, probe } = parts
  const ids = new Map<string, string>()
  database.onLost(() => ids.clear())
  const text = `SELECT ${schema}.append_1(${Array.from({ length: 33 }, (_, i) => `$${i + 1}`).join(',')})`
  const oneText = `SELECT ${schema}.append_one_1(${Array.from({ length: 17 }, (_, i) => `$${i + 1}`).join(',')})`
  const groups = createGroups<Prepared, readonly Posted[]>({
    lanes: parts.lanes,
    maxItems: 200,
    maxBytes: 2 << 20,
    keysOf: ({ streams }) => streams.map(keyOf),
    sizeOf: ({ size }) => size,
    write,
  })

  function know(key: string, id: string): void {
    if (ids.size >= enough) ids.clear()
    ids.set(key, id)
  }

  async function send(items: readonly Prepared[]): Promise<Reply | undefined> {
    const heavy = items.some((one) => one.size > ownWayBytes)
    const group = heavy ? await Promise.all(items.map(lighten)) : items
    const shapeId = await shapes.ensure(
      group.flatMap((one) => [
        ...one.parts.flatMap(({ records }) => records.map(({ shape }) => shape)),
        ...one.posts.map(({ shape }) => shape),
      ]),
    )
    const known = { streamId: (key: string) => ids.get(key), shapeId }
    probe?.('commit.before')
    const one = toOne(group, known)
    if (one !== undefined) {
      const [row] = await database.query({ text: oneText, values: one, name: `convoke ${schema} append one` })
      if (row?.[0] === 't') {
        probe?.('commit.after')
        return undefined
      }
    }
    const { values, streams } = toColumns(group, known)
    const rows = await database.query({ text, values, name: `convoke ${schema} append` })
    probe?.('commit.after')
    const found = rows[0]?.[0] ?? null
    if (found === null) return undefined
    const reply = JSON.parse(found) as Reply
    for (const [at, id] of (reply.ids ?? []).entries()) know(streams[at] as string, String(id))
    return reply
  }

  async function write(group: readonly Prepared[]): Promise<readonly Outcome<readonly Posted[]>[]> {
    let reply: Reply | undefined
    try {
      reply = await send(group)
    } catch (error) {
      if (isForeign(error)) {
        // Ids of another database: ask for them by name.
        if (ids.size === 0)
          throw new ConvokeError('LEDGER_IO', 'streams vanished while they were written', { cause: error })
        ids.clear()
        shapes.forget()
        return await write(group)
      }
      // One that Postgres itself refuses must not take the others with it.
      if (group.length > 1 && error instanceof ConvokeError && error.handling !== 'unreachable')
        return await Promise.all(group.map(alone))
      throw error
    }
    const posted = group.map(() => [] as Posted[])
    if (reply === undefined) {
      committed([])
      return posted.map((value) => ({ value }))
    }
    committed(reply.told ? toldIn(group) : [])
    for (const [append, seq, duplicate] of reply.posted) posted[append - 1]?.push({ seq, duplicate })
    const outcomes: Outcome<readonly Posted[]>[] = posted.map((value) => ({ value }))
    for (const answer of reply.answers) {
      const [append, code, skipped] = answer
      if (code === 'same') continue
      if (code !== 'rest') outcomes[append - 1] = { error: refusalOf(answer) }
      else {
        const rest = restOf(group[append - 1] as Prepared, skipped as readonly number[])
        outcomes[append - 1] = (await write([rest]))[0] as Outcome<readonly Posted[]>
      }
    }
    return outcomes
  }

  async function alone(one: Prepared): Promise<Outcome<readonly Posted[]>> {
    try {
      return (await write([one]))[0] as Outcome<readonly Posted[]>
    } catch (error) {
      return { error }
    }
  }

  async function putBlobs(tenant: string, blobs: readonly Blob[]): Promise<void> {
    for (let at = 0; at < blobs.length;) {
      let bytes = 0
      const some: Blob[] = []
      for (; at < blobs.length && (some.length === 0 || bytes < ownWayBytes); at++) {
        const blob = blobs[at] as Blob
        bytes += blob.bytes.length
        some.push(blob)
      }
      await database.query({
        text: `SELECT ${schema}.put_blobs_1($1, $2, $3, $4)`,
        values: [
          textArray(some.map(() => toText(tenant))),
          plainArray(some.map(({ hash }) => hash)),
          textArray(some.map(({ mediaType }) => toText(mediaType))),
          plainArray(some.map((blob) => Buffer.from(blob.bytes).toString('hex'))),
        ],
      })
    }
  }

  /** Content by its hash harms nobody when the append that it was for is refused. */
  async function lighten(prepared: Prepared): Promise<Prepared> {
    const isHeavy = (blob: Blob): boolean => blob.bytes.length > ownWayBytes
    const heavy = prepared.blobs.filter(isHeavy)
    for (const tenant of prepared.tenants) await putBlobs(tenant, heavy)
    for (const { ref, spilled } of prepared.posts)
      if (spilled !== undefined && isHeavy(spilled)) await putBlobs(ref.tenant, [spilled])
    return { ...prepared, blobs: prepared.blobs.filter((blob) => !isHeavy(blob)) }
  }

  return {
    async append(batch, options = {}) {
      await groups.add(prepareAppend(batch, options, salt))
    },
    async post(inbox, message) {
      const post = preparePost(inbox, message, salt())
      const own: Prepared = {
        parts: [],
        blobs: [],
        tenants: [],
        guards: [],
        posts: [post],
        streams: [inbox],
        size: post.body.length + 500 + (post.spilled?.bytes.length ?? 0) * 2,
      }
      const [posted] = await groups.add(own)
      if (posted === undefined)
        throw new ConvokeError('LEDGER_IO', `${inbox.stream} did not say where the message stands`)
      return posted
    },
    async putBlobs(tenant, blobs) {
      checkTenant(tenant)
      checkBlobs(blobs)
      await putBlobs(tenant, blobs)
    },
    idle: () => groups.idle(),
    close: () => groups.close(),
  }
}

/** Streams to which something was posted, and those with records that change a projection. */
function toldIn(group: readonly Prepared[]): readonly StreamRef[] {
  return group.flatMap(({ parts, posts }) => [
    ...parts.filter(({ records }) => records.some(({ changes }) => changes.length > 0)).map(({ ref }) => ref),
    ...posts.map(({ ref }) => ref),
  ])
}

/** What is left of an append when some of its records stand there already: guards and posts are for the rest. */
function restOf(prepared: Prepared, skipped: readonly number[]): Prepared {
  const parts = prepared.parts
    .filter(({ records }) => records.length > 0)
    .map((part, at) => ({ ...part, records: part.records.slice(skipped[at] ?? 0) }))
  return { ...prepared, parts: parts.filter(({ records }) => records.length > 0) }
}
