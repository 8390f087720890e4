import { isConvokeError, type ConvokeError } from '../../core/errors.ts'
import type { Actor } from '../../core/record.ts'
import type { InboxMessage, Ledger, StreamRef } from '../../ports/ledger.ts'
import { createChain, type Chain } from '../chain.ts'

/** What the suite needs of a test framework; Vitest's own functions fit. */
export interface Framework {
  readonly describe: (name: string, body: () => void) => unknown
  readonly it: (name: string, body: () => Promise<void>) => unknown
  readonly expect: (value: unknown) => {
    toBe(expected: unknown): void
    toEqual(expected: unknown): void
    toMatchObject(expected: object): void
  }
}

/** A fresh store. */
export interface LedgerFixture {
  readonly ledger: Ledger
  /** Another ledger on the same store, as another process would have it. Closed with the fixture. */
  readonly another: () => Promise<Ledger>
  /** Closes all and removes the store. */
  readonly dispose: () => Promise<void>
}
export type Open = () => Promise<LedgerFixture>
export type Part = (framework: Framework, open: Open) => void

export const tenant = 'acme'
export const person: Actor = Object.freeze({ kind: 'person', id: 'ann' })

export function ref(stream: string, of: string = tenant): StreamRef {
  return { tenant: of, stream }
}

/** Runs a body with a fresh store and always removes it. */
export function withLedger(
  open: Open,
  body: (ledger: Ledger, fixture: LedgerFixture) => Promise<void>,
): () => Promise<void> {
  return async () => {
    const fixture = await open()
    try {
      await body(fixture.ledger, fixture)
    } finally {
      await fixture.dispose()
    }
  }
}

/** The code a promise is refused with; 'none' when it is not. */
export async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error = await errorOf(promise)
  return error === undefined ? 'none' : error.code
}

export async function errorOf(promise: Promise<unknown>): Promise<ConvokeError | undefined> {
  try {
    await promise
    return undefined
  } catch (error) {
    if (isConvokeError(error)) return error
    throw error
  }
}

/** A run with its first record, not claimed. */
export async function startRun(
  ledger: Ledger,
  id: string,
  payload: Readonly<Record<string, string | number | readonly string[]>> = {},
  options: { readonly of?: string; readonly at?: number } = {},
): Promise<Chain> {
  const chain = createChain(ref(`run/${id}`, options.of))
  const started = { type: 'run.started', at: options.at ?? 1_000, payload: { workflow: 'w', version: '1', ...payload } }
  await ledger.append([{ ref: chain.ref, epoch: 0, records: [chain.next(started)] }])
  return chain
}

/** A run that the worker has claimed; the chain goes on under its epoch. */
export async function claimRun(ledger: Ledger, chain: Chain, worker: string): Promise<number> {
  const claim = await ledger.claim(chain.ref, worker)
  chain.follow(claim)
  return claim.epoch
}

export function message(id: string, more: Partial<InboxMessage> = {}): InboxMessage {
  return { id, type: 'signal', at: 5_000, actor: person, payload: { id }, ...more }
}
