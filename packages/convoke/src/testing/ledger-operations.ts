import type { LedgerRecord } from '../core/record.ts'

// Operations as data, and what a ledger answers to them: two ledgers that mean the same give the same transcript.

export type Operation =
  | {
      readonly op: 'start'
      readonly run: number
      readonly due: number
      readonly priority: number
      /** For whom it is claimed with its first record. */
      readonly worker?: number | undefined
    }
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
  | { readonly op: 'blob'; readonly what: 'put' | 'other' | 'get'; readonly blob: number }
  /** A record with blobs, or with a payload that is one; `given` with the append or not. */
  | { readonly op: 'attach'; readonly blob: number; readonly given: boolean; readonly large: boolean }
  /** One append to a run and to another stream, of which either may be refused. */
  | { readonly op: 'both'; readonly run: number; readonly place: 'head' | 'behind'; readonly guard: number }
  | { readonly op: 'look'; readonly what: number; readonly run: number; readonly limit: number }
  | { readonly op: 'wrong'; readonly what: number }
  /** The run is taken out of the store; or brought back, from what was taken out or from something like it. */
  | { readonly op: 'archive'; readonly run: number; readonly finish: boolean; readonly stale: boolean }
  | { readonly op: 'restore'; readonly run: number; readonly broken: boolean }

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

export function draftOf(what: number, n: number): Draft {
  const kind = kinds[what % kinds.length]
  return kind === undefined ? { type: 'none', payload: null } : kind(n)
}
