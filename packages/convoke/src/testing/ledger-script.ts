import { isConvokeError } from '../core/errors.ts'
import type { LedgerRecord } from '../core/record.ts'
import type { Guard, Ledger, Lease, StreamRef } from '../ports/ledger.ts'
import { createChain, type Chain } from './chain.ts'

// Operations as data, and what a ledger answers to them: two ledgers that mean the same give the same transcript.

export type Operation =
  | { readonly op: 'start'; readonly run: number; readonly due: number; readonly priority: number }
  | { readonly op: 'register' | 'lapse' | 'isAlive'; readonly worker: number }
  | { readonly op: 'claim'; readonly run: number; readonly worker: number }
  | { readonly op: 'release'; readonly run: number; readonly older: boolean }
  | {
      readonly op: 'append'
      readonly run: number
      readonly place: 'head' | 'behind' | 'ahead' | 'again'
      readonly older: boolean
      readonly what: number
      readonly guard: number
      readonly also: boolean
    }
  | { readonly op: 'note'; readonly place: 'head' | 'behind' | 'again'; readonly cause: number }
  | { readonly op: 'post'; readonly run: number; readonly id: number; readonly decide: boolean }
  | {
      readonly op: 'read'
      readonly run: number
      readonly from: number
      readonly limit: number
      readonly outline: boolean
    }
  | { readonly op: 'ready'; readonly now: number }

interface Draft {
  readonly type: string
  readonly path?: string
  readonly fold?: string
  readonly payload: LedgerRecord['payload']
}
/** What a run may append; the payloads carry what the projections look for. */
const kinds: readonly ((n: number) => Draft)[] = [
  (n) => ({ type: 'step.completed', path: `s${n}`, payload: { n } }),
  (n) => ({ type: 'step.completed', path: `ask/s${n}`, fold: 'ask', payload: { n } }),
  () => ({ type: 'step.completed', path: 'ask', payload: { fold: true } }),
  (n) => ({ type: 'run.parked', payload: { kind: 'timer', next: 2_000 + n } }),
  () => ({ type: 'run.parked', payload: { kind: 'person' } }),
  () => ({ type: 'run.resumed', payload: {} }),
  () => ({ type: 'run.stopped', payload: { code: 'REPLAY_DIVERGED' } }),
  () => ({ type: 'run.completed', payload: {} }),
  (n) => ({
    type: 'approval.requested',
    payload: { id: `ap${n % 3}`, kind: 'call', title: 't', action: { n }, actionHash: 'h' },
  }),
  (n) => ({ type: 'approval.expired', payload: { id: `ap${n % 3}` } }),
]

function draftOf(what: number, n: number): Draft {
  const kind = kinds[what % kinds.length]
  return kind === undefined ? { type: 'none', payload: null } : kind(n)
}

/** Performs the operations one after the other, on two ledgers of one store, and says all that can be seen of it. */
export async function performScript(
  ledgers: readonly [Ledger, Ledger],
  tenant: string,
  script: readonly Operation[],
): Promise<unknown[]> {
  const transcript: unknown[] = []
  const [ledger] = ledgers
  const ref = (stream: string): StreamRef => ({ tenant, stream })
  const chains = new Map<string, Chain>()
  const epochs = new Map<number, number>()
  const last = new Map<string, LedgerRecord>()
  const leases = new Map<number, Lease>()
  const incarnations = new Map<number, number>()
  let counter = 0

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
    return { record: after.next(draft), after }
  }

  async function append(
    by: Ledger,
    stream: string,
    made: { record: LedgerRecord; after: Chain },
    epoch: number,
    options: { guards?: Guard[]; posts?: { ref: StreamRef; message: ReturnType<typeof message> }[] } = {},
  ): Promise<void> {
    const accepted = await say(by.append([{ ref: ref(stream), epoch, records: [made.record] }], options))
    if (!accepted) return
    chains.set(stream, made.after)
    last.set(stream, made.record)
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
        const payload = { workflow: 'w', version: '1', notBefore: 1_000 + step.due, priority: step.priority }
        const made = recordAt(stream, chains.has(stream) ? 'again' : 'head', 0, { type: 'run.started', payload })
        return await append(of(step.run), stream, made, made.record.epoch)
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
    }
  }

  for (const step of script) await perform(step)
  transcript.push(await ledger.heads(tenant), await ledger.runs({ tenant }), await ledger.approvals({ tenant }))
  for (const { stream } of await ledger.heads(tenant)) transcript.push(await ledger.read(ref(stream)))
  for (const run of [0, 1, 2]) transcript.push(await ledger.dependents(tenant, `run/r${run}@1`))
  for (const key of [0, 1, 2, 3, 4]) transcript.push((await ledger.guardOwner(tenant, `k${key}`)) ?? null)
  for (const lease of leases.values()) await lease.release()
  return transcript
}
