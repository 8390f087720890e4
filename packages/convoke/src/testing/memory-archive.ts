import { archiveItems, blobsOf, restoreItems, runArchived, runNeeded } from '../core/archive.ts'
import { ConvokeError } from '../core/errors.ts'
import { inboxStream, isEnded, runIdOf, runStream, type RunRow } from '../core/projections.ts'
import type { LedgerRecord } from '../core/record.ts'
import type { Archive } from '../ports/ledger.ts'
import { keyOf, type State, type Stream } from './memory-state.ts'

/** Archiving, in the plainest way: what is archived stays where it is, and nobody is shown it. */
export function createMemoryArchive(parts: {
  readonly state: () => State
  readonly commit: <T>(act: (draft: State) => T) => T
  readonly log: readonly LedgerRecord[]
  readonly isAlive: (worker: string) => boolean
  readonly guard: <T>(tenant: string | undefined, act: () => T) => Promise<T>
}): Archive {
  const { state, commit, log, isAlive, guard } = parts
  const find = (draft: State, tenant: string, stream: string): Stream | undefined =>
    draft.streams.get(keyOf(tenant, stream))
  const rowOf = (draft: State, tenant: string, run: string): RunRow | undefined =>
    draft.tables.run(tenant, run, () => undefined)

  function checkRun(draft: State, tenant: string, run: string, going: ReadonlySet<string>): void {
    const stream = runStream(run)
    const row = rowOf(draft, tenant, run)
    if (row === undefined || !isEnded(row.status)) throw runNeeded(stream, 'it has not ended')
    const owner = find(draft, tenant, stream)?.owner
    if (owner !== undefined && isAlive(owner)) throw runNeeded(stream, 'a live worker holds it')
    const near = [
      ...draft.tables.relatives(tenant, run),
      ...[row.parent, row.forkOf].flatMap((id) => (id === undefined ? [] : (rowOf(draft, tenant, id) ?? []))),
    ]
    const left = near.find((other) => other.archived === undefined && !going.has(other.run))
    if (left !== undefined) throw runNeeded(stream, `${left.run} belongs to it`)
  }

  return {
    ended: (filter) => guard(filter.tenant, () => state().tables.ended(filter)),
    relatives: (ref) => guard(ref.tenant, () => state().tables.relatives(ref.tenant, runIdOf(ref.stream))),
    export: (tenant, streams) =>
      archiveItems(
        {
          records: (stream, from, limit) =>
            guard(tenant, () => {
              const found = find(state(), tenant, stream)
              if (found?.archived) throw runArchived(stream)
              const records = (found?.records ?? []).slice(from - 1, from - 1 + limit)
              return records.map((record) => ({ position: log.indexOf(record) + 1, record }))
            }),
          blob: (hash) =>
            guard(tenant, () => ({
              hash,
              mediaType: 'application/json',
              bytes: state().blobs.get(keyOf(tenant, hash)) as Uint8Array,
            })),
          messages: (stream) =>
            guard(tenant, () =>
              [...state().seen].flatMap(([key, seq]): [string, number][] => {
                const [of, name, id] = JSON.parse(key) as [string, string, string]
                return of === tenant && name === stream ? [[id, seq]] : []
              }),
            ),
        },
        streams,
      ),
    drop: (tenant, streams, at) =>
      guard(tenant, () =>
        commit((draft) => {
          for (const { stream, seq, hash } of streams) {
            const found = find(draft, tenant, stream)
            const last = found?.records.at(-1)
            if (found === undefined || last === undefined)
              throw new ConvokeError('RUN_UNKNOWN', `${stream} has no records`)
            if (found.archived) throw runArchived(stream)
            if (last.seq !== seq || last.hash !== hash)
              throw new ConvokeError('POSITION_STALE', `${stream} ends at ${last.seq}`)
          }
          const names = new Set(streams.map(({ stream }) => stream))
          const going = new Set([...names].filter((name) => name.startsWith('run/')).map(runIdOf))
          for (const run of going) {
            checkRun(draft, tenant, run, going)
            const inbox = find(draft, tenant, inboxStream(run))
            if (inbox !== undefined && inbox.records.length > 0 && !names.has(inboxStream(run)))
              throw new ConvokeError('POSITION_STALE', `${inboxStream(run)} ends at ${inbox.records.length}`)
          }
          for (const name of names) {
            const stream = find(draft, tenant, name) as Stream
            Object.assign(stream, { archived: true, owner: undefined, epoch: stream.epoch + 1 })
            for (const record of stream.records)
              for (const hash of blobsOf(record)) draft.orphans.set(keyOf(tenant, hash), performance.now())
          }
          for (const run of going) draft.tables.setArchived(tenant, run, at)
        }),
      ),
    restore: (tenant, streams, items) =>
      restoreItems(items, tenant, streams, {
        archivedAt: (stream) =>
          guard(tenant, () => {
            const found = find(state(), tenant, stream)
            return found?.archived ? found.records.at(-1) : undefined
          }),
        write: ({ blobs }) =>
          guard(tenant, () =>
            commit((draft) => {
              for (const { hash, bytes } of blobs) if (bytes !== undefined) draft.blobs.set(keyOf(tenant, hash), bytes)
            }),
          ),
        end: (names) =>
          guard(tenant, () =>
            commit((draft) => {
              for (const name of names) {
                ;(find(draft, tenant, name) as Stream).archived = false
                if (name.startsWith('run/')) draft.tables.setArchived(tenant, runIdOf(name), undefined)
              }
            }),
          ),
      }),
    sweep: (quietMs) =>
      guard(undefined, () =>
        commit((draft) => {
          const needed = new Set(
            [...draft.streams.values()]
              .filter(({ archived }) => !archived)
              .flatMap(({ ref, records }) => records.flatMap((r) => blobsOf(r).map((hash) => keyOf(ref.tenant, hash)))),
          )
          let [blobs, bytes] = [0, 0]
          for (const [key, since] of draft.orphans) {
            if (performance.now() - since < quietMs) continue
            draft.orphans.delete(key)
            if (needed.has(key)) continue
            blobs += 1
            bytes += draft.blobs.get(key)?.length ?? 0
            draft.blobs.delete(key)
          }
          return { blobs, bytes }
        }),
      ),
  }
}
