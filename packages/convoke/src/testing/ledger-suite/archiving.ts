import type { ArchiveItem, StreamHead } from '../../core/archive.ts'
import { sha256 } from '../../core/hash.ts'
import type { Blob } from '../../core/record.ts'
import type { Archive, Ledger } from '../../ports/ledger.ts'
import { createChain, type Chain } from '../chain.ts'
import { claimRun, codeOf, message, ref, startRun, tenant, withLedger, type Part } from './support.ts'

const at = 9_000

function blobOf(text: string): Blob {
  const bytes = Buffer.from(text)
  return { hash: sha256(bytes), bytes, mediaType: 'text/plain' }
}

/** A run with a blob of its own, one that it shares, an approval, a message, a cause elsewhere; it has ended. */
async function endedRun(ledger: Ledger, id: string, payload: Parameters<typeof startRun>[2] = {}): Promise<Chain> {
  const chain = await startRun(ledger, id, { tags: ['t'], ...payload })
  await ledger.post(ref(`inbox/${id}`), message('m1'))
  const request = { id: `ap-${id}`, kind: 'call', title: 't', action: { n: 1 }, actionHash: 'h' }
  const decided = message('m2', { type: 'approval.decided', payload: { id: `ap-${id}`, decision: 'approved' } })
  const blobs = [blobOf(`own of ${id}`), blobOf('shared')]
  const epoch = await claimRun(ledger, chain, 'w')
  const own = [
    chain.next({ type: 'approval.requested', payload: request }),
    chain.next({
      type: 'note',
      payload: { id },
      blobs: blobs.map(({ hash }) => hash),
      causes: [{ ref: 'memory/m@1', kind: 'evidence' }],
    }),
    chain.next({ type: 'note', payload: `${id} long `.repeat(20_000) }, blobs),
  ]
  const guards = [
    { kind: 'unique', tenant, key: `pay ${id}`, owner: id },
    { kind: 'counter', tenant, counter: 'c', key: id, add: 1, max: 10 },
  ] as const
  await ledger.append([{ ref: chain.ref, epoch, records: own }], { blobs, guards })
  await ledger.post(ref(`inbox/${id}`), decided)
  await ledger.append([
    { ref: chain.ref, epoch, records: [chain.next({ type: 'run.completed', at: 2_000, payload: {} })] },
  ])
  await ledger.release(chain.ref, epoch)
  return chain
}

interface Out {
  readonly streams: readonly StreamHead[]
  readonly names: readonly string[]
  readonly items: readonly ArchiveItem[]
}

async function takeOut(ledger: Ledger, runs: readonly string[]): Promise<Out> {
  const names = runs.flatMap((run) => [`run/${run}`, `inbox/${run}`])
  const heads = await Promise.all(names.map(async (stream) => ({ stream, ...(await ledger.head(ref(stream))) })))
  const streams = heads.filter(({ seq }) => seq > 0)
  const items = await collect(
    archiveOf(ledger).export(
      tenant,
      streams.map(({ stream }) => stream),
    ),
  )
  return { streams, names: streams.map(({ stream }) => stream), items }
}

function archiveOf(ledger: Ledger): Archive {
  if (ledger.archive === undefined) throw new Error('the ledger cannot archive')
  return ledger.archive
}

async function collect(items: AsyncIterable<ArchiveItem>): Promise<ArchiveItem[]> {
  const all: ArchiveItem[] = []
  for await (const item of items) all.push(item)
  return all
}

async function* each(items: readonly ArchiveItem[]): AsyncGenerator<ArchiveItem, void, undefined> {
  for (const item of items) yield await Promise.resolve(item)
}

/** All that can be asked of a run. */
async function all(ledger: Ledger, run: string): Promise<unknown> {
  const streams = [ref(`run/${run}`), ref(`inbox/${run}`)]
  return [
    ...(await Promise.all(streams.map((stream) => ledger.read(stream)))),
    ...(await Promise.all(streams.map((stream) => ledger.head(stream)))),
    await ledger.run(ref(`run/${run}`)),
    await ledger.runs({ tenant, tag: 't' }),
    await ledger.approvals({ tenant, run }),
    await ledger.dependents(tenant, 'memory/m@1'),
    Buffer.from((await ledger.getBlob(tenant, blobOf(`own of ${run}`).hash)) ?? []).toString(),
    await codeOf(ledger.post(ref(`inbox/${run}`), message('m1'))),
  ]
}

export const archiving: Part = ({ describe, it, expect }, open) => {
  describe('archive', () => {
    it(
      'takes an ended run out and brings it back as it was',
      withLedger(open, async (ledger, { another }) => {
        await ledger.register('w')
        await endedRun(ledger, 'r1')
        await endedRun(ledger, 'r2')
        const before = await all(ledger, 'r1')
        const heads = await ledger.heads(tenant)
        const out = await takeOut(ledger, ['r1'])
        const archive = archiveOf(ledger)
        await archive.drop(tenant, out.streams, at)
        const other = await another()
        expect(await ledger.run(ref('run/r1'))).toMatchObject({
          run: 'r1',
          status: 'done',
          updatedAt: 2_000,
          archived: at,
        })
        expect((await other.runs({ tenant, tag: 't' })).map(({ run, archived }) => [run, archived ?? 0])).toEqual([
          ['r2', 0],
          ['r1', at],
        ])
        expect(await other.heads(tenant)).toEqual(heads)
        expect(await ledger.approvals({ tenant, run: 'r1' })).toEqual([])
        expect(await ledger.dependents(tenant, 'memory/m@1')).toEqual(['run/r2@3'])
        expect(await archive.restore(tenant, out.names, each(out.items))).toMatchObject({ records: 7, blobs: 3 })
        expect(await all(ledger, 'r1')).toEqual(before)
        expect(await all(other, 'r1')).toEqual(before)
      }),
    )

    it(
      'RUN_ARCHIVED: nobody reads, claims, appends to, begins again or writes to what is archived; keys stay taken',
      withLedger(open, async (ledger, { another }) => {
        await ledger.register('w')
        const chain = await endedRun(ledger, 'r1')
        const other = await another()
        const run = ref('run/r1')
        const last = await ledger.read(run, { from: chain.head.seq })
        const { streams } = await takeOut(ledger, ['r1'])
        await archiveOf(ledger).drop(tenant, streams, at)
        await other.register('w2')
        for (const by of [ledger, other]) {
          const begun = createChain(run)
          const started = begun.next({ type: 'run.started', payload: { workflow: 'w', version: '1' } })
          const epoch = last[0]?.epoch ?? 0
          const next = createChain(run, { ...chain.head, epoch }).next({ type: 'note' })
          const inbox = ref('inbox/r1')
          const codes = await Promise.all([
            codeOf(by.read(run)),
            codeOf(by.read(run, { from: 100 })),
            codeOf(by.read(inbox, { outline: true })),
            codeOf(by.claim(run, by === other ? 'w2' : 'w')),
            codeOf(by.append([{ ref: run, epoch: 0, records: [started] }])),
            codeOf(by.append([{ ref: run, epoch, records: [next] }])),
            codeOf(by.append([{ ref: run, epoch, records: last }])),
            codeOf(by.post(inbox, message('m1'))),
            codeOf(by.append([], { posts: [{ ref: inbox, message: message('m9') }] })),
            codeOf(archiveOf(by).drop(tenant, streams, at)),
            codeOf(collect(archiveOf(by).export(tenant, ['run/r1']))),
          ])
          expect(codes.filter((code) => code !== 'RUN_ARCHIVED')).toEqual([])
          expect(await by.guardOwner(tenant, 'pay r1')).toBe('r1')
          const guards = [{ kind: 'unique', tenant, key: 'pay r1', owner: 'r2' }] as const
          expect(await codeOf(by.append([], { guards }))).toBe('UNIQUE_TAKEN')
          const counted = [{ kind: 'counter', tenant, counter: 'c', key: 'x', add: 10, max: 10 }] as const
          expect(await codeOf(by.append([], { guards: counted }))).toBe('COUNTER_EXCEEDED')
        }
      }),
    )

    it(
      'RUN_NEEDED: not before it has ended, while it is driven, or without what belongs to it',
      withLedger(open, async (ledger) => {
        await ledger.register('w')
        const drop = async (...runs: string[]): Promise<string> =>
          codeOf(archiveOf(ledger).drop(tenant, (await takeOut(ledger, runs)).streams, at))
        await startRun(ledger, 'open')
        expect(await drop('open')).toBe('RUN_NEEDED')
        await endedRun(ledger, 'held')
        const epoch = (await ledger.claim(ref('run/held'), 'w')).epoch
        expect(await drop('held')).toBe('RUN_NEEDED')
        await ledger.release(ref('run/held'), epoch)
        await startRun(ledger, 'fork', { forkOf: 'held' })
        await endedRun(ledger, 'child', { parent: 'held' })
        expect(await drop('held')).toBe('RUN_NEEDED')
        expect(await drop('child')).toBe('RUN_NEEDED')
        expect(await drop('held', 'child', 'fork')).toBe('RUN_NEEDED')
        expect((await archiveOf(ledger).relatives(ref('run/held'))).map(({ run }) => run)).toEqual(['child', 'fork'])
        const fork = createChain(ref('run/fork'), await ledger.head(ref('run/fork')))
        fork.follow(await ledger.claim(fork.ref, 'w'))
        const ended = fork.next({ type: 'run.completed', at: 2_000, payload: {} })
        await ledger.append([{ ref: fork.ref, epoch: ended.epoch, records: [ended] }])
        await ledger.release(fork.ref, ended.epoch)
        const stale = await takeOut(ledger, ['held', 'child', 'fork'])
        await ledger.post(ref('inbox/held'), message('late'))
        expect(await codeOf(archiveOf(ledger).drop(tenant, stale.streams, at))).toBe('POSITION_STALE')
        expect(await drop('held', 'child', 'fork')).toBe('none')
        const nothing = [{ stream: 'run/none', seq: 1, hash: '0'.repeat(64) }]
        expect(await codeOf(archiveOf(ledger).drop(tenant, nothing, at))).toBe('RUN_UNKNOWN')
      }),
    )

    it(
      'ended runs are found by how long they have not changed, page by page',
      withLedger(open, async (ledger) => {
        await ledger.register('w')
        for (const id of ['c', 'a', 'b']) await endedRun(ledger, id)
        await startRun(ledger, 'open')
        const archive = archiveOf(ledger)
        const names = async (filter: Omit<Parameters<Archive['ended']>[0], 'tenant'>): Promise<string[]> =>
          (await archive.ended({ tenant, ...filter })).map(({ run }) => run)
        expect(await names({ before: 2_000 })).toEqual([])
        expect(await names({ before: 2_001 })).toEqual(['a', 'b', 'c'])
        expect(await names({ before: 2_001, limit: 1 })).toEqual(['a'])
        expect(await names({ before: 2_001, after: { run: 'a', updatedAt: 2_000 } })).toEqual(['b', 'c'])
        await archive.drop(tenant, (await takeOut(ledger, ['b'])).streams, at)
        expect(await names({ before: 2_001 })).toEqual(['a', 'c'])
      }),
    )

    it(
      'ARCHIVE_INVALID: what was changed, cut off or is of something else brings nothing back; what was broken off goes on',
      withLedger(open, async (ledger) => {
        await ledger.register('w')
        await endedRun(ledger, 'r1')
        const before = await all(ledger, 'r1')
        const out = await takeOut(ledger, ['r1'])
        const archive = archiveOf(ledger)
        const restore = (items: AsyncIterable<ArchiveItem>, names = out.names): Promise<string> =>
          codeOf(archive.restore(tenant, names, items))
        expect(await restore(each(out.items))).toBe('ARCHIVE_INVALID')
        await archive.drop(tenant, out.streams, at)
        const changed = out.items.map((item): ArchiveItem =>
          item.kind === 'record' && item.record.seq === 2
            ? { ...item, record: { ...item.record, payload: 'x' } }
            : item,
        )
        expect(await restore(each(changed))).toBe('ARCHIVE_INVALID')
        const blob = out.items.map((item): ArchiveItem =>
          item.kind === 'blob' ? { ...item, bytes: Buffer.from('x') } : item,
        )
        expect(await restore(each(blob))).toBe('ARCHIVE_INVALID')
        expect(await restore(each(out.items.filter(({ kind }) => kind !== 'blob')))).toBe('ARCHIVE_INVALID')
        const lastOf = out.items.findLastIndex((item) => item.kind === 'record' && item.record.stream === 'run/r1')
        expect(await restore(each(out.items.toSpliced(lastOf, 1)))).toBe('ARCHIVE_INVALID')
        const inboxless = out.items.filter((item) => item.kind !== 'record' || item.record.stream === 'run/r1')
        expect(await restore(each(inboxless))).toBe('ARCHIVE_INVALID')
        async function* broken(): AsyncGenerator<ArchiveItem, void, undefined> {
          for (let times = 0; times < 200; times++)
            for (const item of out.items.slice(0, -3)) if (item.kind === 'blob' || times === 0) yield item
          await Promise.resolve()
          throw Object.assign(new Error('the disk is gone'), { code: 'EIO' })
        }
        expect(await archive.restore(tenant, out.names, broken()).catch((error: Error) => error.message)).toBe(
          'the disk is gone',
        )
        expect(await codeOf(ledger.read(ref('run/r1')))).toBe('RUN_ARCHIVED')
        expect(await restore(each(out.items))).toBe('none')
        expect(await all(ledger, 'r1')).toEqual(before)
      }),
    )

    it(
      'content that only archived records refer to is removed later, never what others refer to or store again',
      withLedger(open, async (ledger) => {
        await ledger.register('w')
        for (const id of ['r1', 'r2', 'r3']) await endedRun(ledger, id)
        const before = await all(ledger, 'r1')
        const archive = archiveOf(ledger)
        const out = await takeOut(ledger, ['r1'])
        await archive.drop(tenant, out.streams, at)
        const third = await takeOut(ledger, ['r3'])
        await archive.drop(tenant, third.streams, at)
        const text = async (name: string): Promise<string> =>
          Buffer.from((await ledger.getBlob(tenant, blobOf(name).hash)) ?? []).toString()
        expect(await archive.sweep(3_600_000)).toEqual({ blobs: 0, bytes: 0 })
        expect(await text('own of r1')).toBe('own of r1')
        await ledger.putBlobs(tenant, [blobOf('own of r3')])
        expect(await archive.sweep(0)).toMatchObject({ blobs: 3 })
        expect(await archive.sweep(0)).toEqual({ blobs: 0, bytes: 0 })
        expect([await text('own of r1'), await text('own of r3'), await text('shared')]).toEqual([
          '',
          'own of r3',
          'shared',
        ])
        await archive.restore(tenant, out.names, each(out.items))
        await archive.restore(tenant, third.names, each(third.items))
        expect(await all(ledger, 'r1')).toEqual(before)
        await ledger.putBlobs(tenant, [blobOf('own of r1')])
        expect(await text('own of r1')).toBe('own of r1')
      }),
    )

    it(
      'what came before its question decides nothing when an inbox comes back without its run',
      withLedger(open, async (ledger) => {
        await ledger.register('w')
        const early = { type: 'approval.decided', payload: { id: 'ap', decision: 'approved' } }
        await ledger.post(ref('inbox/r1'), message('m1', early))
        const out = await takeOut(ledger, ['r1'])
        expect(out.names).toEqual(['inbox/r1'])
        await archiveOf(ledger).drop(tenant, out.streams, at)
        const chain = await startRun(ledger, 'r1')
        const epoch = await claimRun(ledger, chain, 'w')
        const payload = { id: 'ap', kind: 'call', title: 't', action: { n: 1 }, actionHash: 'h' }
        const asked = chain.next({ type: 'approval.requested', payload })
        await ledger.append([{ ref: chain.ref, epoch, records: [asked] }])
        await archiveOf(ledger).restore(tenant, out.names, each(out.items))
        expect(await ledger.approval(tenant, 'ap')).toMatchObject({ run: 'r1', status: 'pending' })
      }),
    )

    it(
      'whoever follows misses nothing that comes after, and nothing comes to them twice',
      withLedger(open, async (ledger, { another }) => {
        await ledger.register('w')
        await endedRun(ledger, 'r1')
        const out = await takeOut(ledger, ['r1'])
        const other = await another()
        const watched = other.watch(tenant, 'now')[Symbol.asyncIterator]()
        const first = watched.next()
        await other.head(ref('run/r1'))
        await archiveOf(ledger).drop(tenant, out.streams, at)
        await startRun(ledger, 'r2')
        await archiveOf(ledger).restore(tenant, out.names, each(out.items))
        await startRun(ledger, 'r3')
        const seen = [await first, await watched.next()].map(({ value }) => value?.record.stream)
        expect(seen).toEqual(['run/r2', 'run/r3'])
        await watched.return?.()
        const again = other.watch(tenant)[Symbol.asyncIterator]()
        const order: string[] = []
        while (order.length < 9) order.push((await again.next()).value?.record.stream ?? '')
        await again.return?.()
        expect(order.slice(-2)).toEqual(['run/r2', 'run/r3'])
      }),
    )
  })
}
