import { isConvokeError } from '../core/errors.ts'
import { sha256 } from '../core/hash.ts'
import { refOf, type Blob, type LedgerRecord } from '../core/record.ts'
import type { ArchiveItem } from '../core/archive.ts'
import type { AppendOptions, Guard, Ledger, Lease, StreamRef } from '../ports/ledger.ts'
import { createChain, type Chain } from './chain.ts'

import { draftOf, type Operation } from './ledger-operations.ts'

export type { Operation } from './ledger-operations.ts'

/** Performs the operations one after the other, on two ledgers of one store, and says all that can be seen of it. */
export async function performScript(
  ledgers: readonly [Ledger, Ledger],
  tenant: string,
  script: readonly Operation[],
  /** Whether the records are followed as they come, too. */
  followed = true,
): Promise<unknown[]> {
  const transcript: unknown[] = []
  const [ledger] = ledgers
  const ref = (stream: string): StreamRef => ({ tenant, stream })
  const chains = new Map<string, Chain>()
  const epochs = new Map<number, number>()
  const last = new Map<string, LedgerRecord>()
  const leases = new Map<number, Lease>()
  const incarnations = new Map<number, number>()
  const taken = new Map<number, { readonly names: readonly string[]; readonly items: readonly ArchiveItem[] }>()
  let counter = 0
  const watched = ledgers[1].watch(tenant, 'now')[Symbol.asyncIterator]()
  const first = followed ? watched.next() : undefined
  // A call behind it has seen where it begins.
  await ledgers[1].head(ref('run/r0'))

  const of = (n: number): Ledger => ledgers[n % 2 === 0 ? 0 : 1]
  const worker = (n: number): string => `${tenant}-w${n}-${incarnations.get(n) ?? 0}`

  async function say(act: Promise<unknown>): Promise<boolean> {
    try {
      transcript.push((await act) ?? 'ok')
      return true
    } catch (error) {
      if (!isConvokeError(error)) throw error
      transcript.push(error.code)
      return false
    }
  }

  /** All records of the tenant in the order in which they were committed. */
  async function order(count: number): Promise<string[]> {
    const seen: string[] = []
    for (let item = first; item !== undefined && seen.length < count; item = watched.next()) {
      const { value } = (await item) as IteratorYieldResult<{ readonly record: LedgerRecord }>
      seen.push(refOf(value.record))
    }
    void watched.return?.()
    return seen
  }

  function chainOf(stream: string): Chain {
    let chain = chains.get(stream)
    if (chain === undefined) chains.set(stream, (chain = createChain(ref(stream))))
    return chain
  }

  /** A record at the place, and the chain that stands behind it when it is accepted. */
  function recordAt(
    stream: string,
    place: string,
    epoch: number,
    draft: Parameters<Chain['next']>[0],
    blobs?: Blob[],
  ): { record: LedgerRecord; after: Chain } {
    const chain = chainOf(stream)
    const before = last.get(stream)
    if (place === 'again' && before !== undefined) return { record: before, after: chain }
    const { seq, hash } = chain.head
    const at =
      place === 'behind' && before !== undefined
        ? { seq: seq - 1, hash: before.prevHash }
        : { seq: place === 'ahead' ? seq + 1 : seq, hash }
    const after = createChain(ref(stream), { ...at, epoch })
    return { record: after.next(draft, blobs), after }
  }

  async function append(
    by: Ledger,
    stream: string,
    made: { record: LedgerRecord; after: Chain },
    epoch: number,
    options: AppendOptions = {},
  ): Promise<void> {
    const accepted = await say(by.append([{ ref: ref(stream), epoch, records: [made.record] }], options))
    if (accepted) keep(stream, made)
  }

  /** A ledger without `begin` says in two calls what one with it says in one. */
  async function start(
    by: Ledger,
    step: Operation & { readonly op: 'start' },
    made: { record: LedgerRecord; after: Chain },
  ): Promise<void> {
    const stream = `run/r${step.run}`
    if (step.worker === undefined) return await append(by, stream, made, made.record.epoch)
    const first = { ref: ref(stream), epoch: made.record.epoch, records: [made.record] }
    const name = worker(step.worker)
    const claim = (async () => {
      if (by.begin !== undefined) return await by.begin(first, name)
      await by.append([first])
      return epochs.has(step.run) || !(await by.isAlive(name)) ? undefined : await by.claim(first.ref, name)
    })()
    if (!(await say(claim))) return
    keep(stream, made)
    const epoch = (await claim)?.epoch
    if (epoch !== undefined) epochs.set(step.run, epoch)
  }

  function keep(stream: string, made: { record: LedgerRecord; after: Chain }): void {
    chains.set(stream, made.after)
    last.set(stream, made.record)
  }

  function blobOf(n: number): Blob {
    const bytes = Buffer.from(`${tenant} ${n}`)
    return { hash: sha256(bytes), bytes, mediaType: 'text/plain' }
  }

  async function blob(what: 'put' | 'other' | 'get', n: number): Promise<unknown> {
    const { hash, ...rest } = blobOf(n)
    if (what === 'put') return await of(n).putBlobs(tenant, [{ hash, ...rest }])
    if (what === 'other') return await of(n).putBlobs(tenant, [{ ...rest, hash: sha256('other') }])
    const bytes = await of(n + 1).getBlob(tenant, hash)
    return bytes === undefined ? null : Buffer.from(bytes).toString()
  }

  /** Every question of the port that is about one tenant. */
  async function look(
    by: Ledger,
    { what, run, limit }: { what: number; run: number; limit: number },
  ): Promise<unknown> {
    const at = ref(`run/r${run}`)
    const statuses = (['queued', 'running', 'parked', 'stopped', 'done'] as const).slice(run, run + 2)
    const questions: readonly (() => Promise<unknown>)[] = [
      () => by.head(at),
      () => by.heads(tenant, { after: `inbox/r${run}`, limit }),
      () => by.run(at),
      () => by.runs({ tenant, limit: limit + 1 }),
      () => by.runs({ tenant, status: statuses }),
      () => by.runs({ tenant, status: ['running'], workflow: 'w', limit: 2 }),
      () => by.runs({ tenant, tag: `t${run % 2}`, before: 'r2' }),
      () => by.approval(tenant, `ap${run}`),
      () => by.approvals({ tenant, status: run === 0 ? 'pending' : 'approved', limit: limit + 1 }),
      () => by.approvals({ tenant, run: `r${run}` }),
      () => by.dependents(tenant, `run/r${run}@1`),
      () => by.guardOwner(tenant, `k${run}`),
      async () => (await by.tenantKey(tenant)).length,
      async () => await by.archive?.ended({ tenant, before: 1_120 + run, limit: limit + 1 }),
      async () => await by.archive?.relatives(at),
    ]
    return (await questions[what % questions.length]?.()) ?? null
  }

  async function archive(by: Ledger, run: number, stale: boolean): Promise<void> {
    const streams = [`run/r${run}`, `inbox/r${run}`]
    const heads = await Promise.all(streams.map(async (stream) => ({ stream, ...(await by.head(ref(stream))) })))
    const there = heads.filter(({ seq }) => seq > 0).map((head) => (stale ? { ...head, seq: head.seq + 1 } : head))
    const names = there.map(({ stream }) => stream)
    const items: ArchiveItem[] = []
    if (names.length > 0) for await (const item of by.archive?.export(tenant, names) ?? []) items.push(item)
    await by.archive?.drop(tenant, there.length === 0 ? [{ stream: `run/r${run}`, seq: 1, hash: '' }] : there, 5_000)
    taken.set(run, { names, items })
  }

  async function restore(by: Ledger, run: number, broken: boolean): Promise<unknown> {
    const { names, items } = taken.get(run) ?? { names: [`run/r${run}`], items: [] }
    async function* each(): AsyncGenerator<ArchiveItem, void, undefined> {
      for (const item of broken ? items.slice(1) : items) yield await Promise.resolve(item)
    }
    const { records } = (await by.archive?.restore(tenant, names, each())) ?? { records: -1 }
    return { records }
  }

  /** What no ledger may take. */
  async function wrong(by: Ledger, what: number): Promise<unknown> {
    const chain = createChain(ref('memory/w'))
    const record = chain.next({ type: 'note' })
    const calls: readonly (() => Promise<unknown>)[] = [
      () => by.append([{ ref: { tenant: '', stream: 'memory/w' }, epoch: 0, records: [record] }]),
      () => by.append([{ ref: ref('memory/v'), epoch: 0, records: [record] }]),
      () => by.append([{ ref: ref('memory/w'), epoch: 0, records: [{ ...record, v: 2 as unknown as 1 }] }]),
      () =>
        by.append([{ ref: ref('inbox/w'), epoch: 0, records: [createChain(ref('inbox/w')).next({ type: 'note' })] }]),
      () => by.post(ref('inbox'), message(1, false, 1)),
      () => by.post(ref('run/r0'), message(1, false, 1)),
      () => by.post(ref('inbox/r0'), { ...message(1, false, 1), id: '' }),
      () => by.post(ref('inbox/r0'), { ...message(1, false, 1), id: 'never', payload: Number.NaN }),
      () => by.read({ tenant: '', stream: 'run/r0' }),
      () => by.head(ref('nothing')),
      () => by.runs({ tenant: '' }),
    ]
    return await calls[what % calls.length]?.()
  }

  const message = (id: number, decide: boolean, n: number) =>
    ({
      id: `m${id}`,
      type: decide ? 'approval.decided' : 'signal',
      at: 1_500 + n,
      actor: { kind: 'person', id: 'ann' },
      payload: decide ? { id: `ap${id % 3}`, decision: id % 2 === 0 ? 'approved' : 'rejected' } : { n },
    }) as const

  function guardOf(n: number, run: number): Guard[] {
    const key = `k${counter % 5}`
    if (n === 1) return [{ kind: 'unique', tenant, key, owner: `r${run}` }]
    if (n === 2) return [{ kind: 'counter', tenant, counter: 'c', key: `${counter}`, add: 1, max: 2 }]
    if (n === 3) return [{ kind: 'inbox', ref: ref(`inbox/r${run}`), seq: counter % 3 }]
    return []
  }

  async function perform(step: Operation): Promise<void> {
    counter += 1
    switch (step.op) {
      case 'start': {
        const stream = `run/r${step.run}`
        const tags = [`t${step.due % 2}`]
        const payload = { workflow: 'w', version: '1', notBefore: 1_000 + step.due, priority: step.priority, tags }
        const made = recordAt(stream, chains.has(stream) ? 'again' : 'head', 0, { type: 'run.started', payload })
        return await start(of(step.worker ?? step.run), step, made)
      }
      case 'register': {
        incarnations.set(step.worker, (incarnations.get(step.worker) ?? 0) + 1)
        const lease = of(step.worker).register(worker(step.worker))
        leases.set(step.worker, await lease)
        return
      }
      case 'lapse':
        return await leases.get(step.worker)?.release()
      case 'isAlive':
        return void (await say(of(step.worker + 1).isAlive(worker(step.worker))))
      case 'claim': {
        const claim = of(step.worker).claim(ref(`run/r${step.run}`), worker(step.worker))
        if (await say(claim)) epochs.set(step.run, (await claim).epoch)
        return
      }
      case 'release':
        return void (await say(
          ledger.release(ref(`run/r${step.run}`), (epochs.get(step.run) ?? 0) - (step.older ? 1 : 0)),
        ))
      case 'append': {
        const stream = `run/r${step.run}`
        const epoch = Math.max(0, (epochs.get(step.run) ?? 0) - (step.older ? 1 : 0))
        const draft = draftOf(step.what, counter)
        const made = recordAt(stream, step.place, epoch, { ...draft, at: 1_100 + counter })
        return await append(of(step.run), stream, made, made.record.epoch, {
          guards: guardOf(step.guard, step.run),
          posts: step.also ? [{ ref: ref('inbox/r0'), message: message(100 + counter, false, counter) }] : [],
        })
      }
      case 'note': {
        const causes = [{ ref: `run/r${step.cause}@1`, kind: 'evidence' as const }]
        const made = recordAt('memory/m', step.place, 0, { type: 'note', causes, payload: counter })
        return await append(of(counter), 'memory/m', made, 0)
      }
      case 'post':
        return void (await say(of(step.id).post(ref(`inbox/r${step.run}`), message(step.id, step.decide, counter))))
      case 'read': {
        const { from, limit, outline } = step
        return void (await say(of(counter).read(ref(`run/r${step.run}`), { from, limit, outline })))
      }
      case 'ready':
        return void (await say(of(counter).ready({ now: 1_000 + step.now, limit: 3, tenant })))
      case 'blob':
        return void (await say(blob(step.what, step.blob)))
      case 'attach': {
        const blobs = [blobOf(step.blob)]
        const draft = step.large
          ? { type: 'note', payload: `${step.blob}`.repeat(70_000) }
          : { type: 'note', payload: counter, blobs: blobs.map(({ hash }) => hash) }
        if (step.large) blobs.pop()
        const made = recordAt('memory/b', 'head', 0, draft, blobs)
        return await append(of(counter), 'memory/b', made, 0, step.given ? { blobs } : {})
      }
      case 'both': {
        const stream = `run/r${step.run}`
        const first = recordAt(stream, step.place, epochs.get(step.run) ?? 0, draftOf(counter % 3, counter))
        const second = recordAt('memory/m', counter % 4 === 0 ? 'behind' : 'head', 0, {
          type: 'note',
          payload: counter,
        })
        const parts = [
          { ref: ref(stream), epoch: first.record.epoch, records: [first.record] },
          { ref: ref('memory/m'), epoch: 0, records: [second.record] },
        ]
        const accepted = await say(of(counter).append(parts, { guards: guardOf(step.guard, step.run) }))
        if (accepted) {
          keep(stream, first)
          keep('memory/m', second)
        }
        return
      }
      // Whoever follows may be anywhere when records go: what they see of them is not compared.
      case 'archive': {
        if (followed) return
        if (step.finish) {
          const stream = `run/r${step.run}`
          const epoch = epochs.get(step.run) ?? 0
          await append(of(step.run), stream, recordAt(stream, 'head', epoch, draftOf(7, counter)), epoch)
          await say(ledger.release(ref(stream), epoch))
        }
        return void (await say(archive(of(counter), step.run, step.stale)))
      }
      case 'restore':
        return followed ? undefined : void (await say(restore(of(counter), step.run, step.broken)))
      case 'look':
        return void (await say(look(of(counter), step)))
      case 'wrong':
        return void (await say(wrong(of(counter), step.what)))
    }
  }

  for (const step of script) await perform(step)
  transcript.push(await ledger.heads(tenant), await ledger.runs({ tenant }), await ledger.approvals({ tenant }))
  let records = 0
  for (const { stream } of await ledger.heads(tenant)) {
    const at = transcript.length
    if (await say(ledger.read(ref(stream)))) records += (transcript[at] as readonly unknown[]).length
  }
  if (followed) transcript.push(await order(records))
  for (const run of [0, 1, 2]) transcript.push(await ledger.dependents(tenant, `run/r${run}@1`))
  for (const key of [0, 1, 2, 3, 4]) transcript.push((await ledger.guardOwner(tenant, `k${key}`)) ?? null)
  for (const lease of leases.values()) await lease.release()
  return transcript
}
