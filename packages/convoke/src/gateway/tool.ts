import type { StandardSchemaV1 } from '@standard-schema/spec'
import { ConvokeError } from '../core/errors.ts'
import type { Json } from '../core/json.ts'
import type { Labels } from '../core/labels.ts'
import type { SecretRef } from '../core/redact.ts'
import type { NetworkRules } from '../ports/network.ts'
import type { ToolTransport } from '../ports/tool-transport.ts'
import { assertAccepts, type Accepts } from '../flow/sink.ts'
import type { ToolRequest } from './fetch.ts'

/**
 * What a repeat of a call does, and so what recovery may do with a call whose outcome is unknown (R5):
 *
 * - `read`: changes nothing; repeated freely, without an intent of its own
 * - `idempotent`: doing it twice is doing it once; repeated
 * - `keyed`: the tool honours the idempotency key; repeated with the same key
 * - `reconcilable`: the tool can be asked whether it happened
 * - `unsafe`: nobody can tell; a person decides
 */
export type EffectClass = 'read' | 'idempotent' | 'keyed' | 'reconcilable' | 'unsafe'

/** What `execute` may use. Everything that leaves goes through here, so that a worker without a lease sends nothing. */
export interface ToolContext {
  /** Aborts at the tool's time-out, or when the process stops driving the run. */
  readonly signal: AbortSignal
  /** The same at every try of this call and after every crash (R4); pass it on to the system that has the effect. */
  readonly idempotencyKey: string
  readonly businessKey?: string
  readonly tenant: string
  readonly run: string
  readonly path: string
  /** The value behind a reference. It never enters a record. @throws SECRET_MISSING */
  secret(name: string | SecretRef): Promise<string>
  /**
   * From now on a value is kept out of records, errors and what is watched, as a secret is: for what was got or made with
   * one, such as an access token. `name` is what stands in its place.
   */
  conceal(value: string, name: string): void
  /**
   * As the global fetch, but: it goes only where the tool's `network` rules allow, the lease is checked right before, and
   * the whole body has been read when it resolves. `json()` keeps digits that a number would lose.
   * @throws NETWORK_DENIED, LEASE_EXPIRED, TOOL_RESULT_TOO_LARGE for a body beyond the tool's `maxResultBytes`
   */
  fetch(url: string | URL, init?: ToolRequest): Promise<Response>
  /** Bytes that stand in the ledger under their content hash, such as a file that a run was given. */
  blob(hash: string): Promise<Uint8Array | undefined>
  /** For watchers of the live run; nothing is recorded. */
  progress(data: Json): void
}

/** What a reconcilable tool knows of a call whose answer was lost. */
export type Reconciled = { readonly happened: true; readonly value: unknown } | { readonly happened: false } | 'unknown'

export interface ToolRetry {
  /** Tries in all, the first included; 4 unless said. */
  readonly attempts?: number
  /** Milliseconds before the second try, doubled each time; 500 unless said. */
  readonly delayMs?: number
  /** 30,000 unless said. What the tool asks for in `retry-after` is kept even beyond. */
  readonly maxDelayMs?: number
}

export interface ToolLabels {
  /** `untrusted` unless said. */
  readonly integrity?: Labels['integrity']
  readonly confidentiality?: readonly string[]
}

interface Common<S extends StandardSchemaV1> {
  /** Letters, digits and `. _ -`; 64 at most. */
  readonly name: string
  readonly description: string
  /** What it makes of an input is what people approve and what is sent; it must take its own output again. */
  readonly inputSchema: S
  readonly effect: EffectClass
  /** Enters fingerprints and idempotency keys; '1' unless said. */
  readonly version?: string
  /** Milliseconds for one try; 60,000 unless said. */
  readonly timeoutMs?: number
  /** Bytes of canonical JSON; 8 MiB unless said. */
  readonly maxResultBytes?: number
  readonly retry?: ToolRetry
  /** What its outputs carry. */
  readonly labels?: ToolLabels
  /** What may go into it; only the default rule holds unless said. */
  readonly accepts?: Accepts
  /** What its calls are, for policies: `financial-commitment`, `external-communication`, `safety-critical`, … */
  readonly categories?: readonly string[]
  /** Whether its arguments leave the app's own house or change something; true unless said for all but reads. */
  readonly external?: boolean
  /** Where `context.fetch` may go; public addresses only unless said, by the tool or else by the app. */
  readonly network?: NetworkRules
  /**
   * Name of the catalogue that the tool belongs to. Models are not told of tools in catalogues, which may be thousands;
   * they search, ask for a description, and call.
   */
  readonly catalog?: string
  /** Mandatory for `reconcilable`. Asked after an unknown outcome; must not have an effect itself. */
  readonly reconcile?: (
    input: StandardSchemaV1.InferOutput<S>,
    context: ToolContext,
  ) => Reconciled | Promise<Reconciled>
  /** What a dry fork takes instead of the effect. */
  readonly simulate?: (input: StandardSchemaV1.InferOutput<S>) => unknown
}

/**
 * Does the work. To say more than "it failed", throw a ConvokeError: TOOL_FAILED when the tool answered and certainly
 * nothing happened, TOOL_UNREACHABLE when no answer came (`details.sent: false` when certainly no byte left,
 * `details.retryAfterMs` when the tool asks to wait). A Response is read as JSON, its status decides.
 */
type Execute<S extends StandardSchemaV1, R> = (
  input: StandardSchemaV1.InferOutput<S>,
  context: ToolContext,
) => R | Promise<R>

/** A tool whose answers are checked: `execute` may return anything. */
export interface CheckedTool<S extends StandardSchemaV1, O extends StandardSchemaV1> extends Common<S> {
  readonly outputSchema: O
  readonly execute?: Execute<S, unknown>
  readonly transport?: ToolTransport
}

/** A tool whose answers are what its code says they are. */
export interface PlainTool<S extends StandardSchemaV1, R> extends Common<S> {
  readonly outputSchema?: undefined
  readonly execute: Execute<S, R>
  readonly transport?: undefined
}

/** Frozen. `I` is what callers pass, `O` what they get. */
export interface Tool<I, O> {
  readonly kind: 'tool'
  readonly name: string
  readonly description: string
  readonly version: string
  readonly effect: EffectClass
  readonly inputSchema: StandardSchemaV1
  readonly outputSchema: StandardSchemaV1 | undefined
  readonly timeoutMs: number
  readonly maxResultBytes: number
  readonly retry: Required<ToolRetry>
  readonly labels: ToolLabels
  readonly accepts: Accepts | undefined
  readonly categories: readonly string[]
  readonly external: boolean
  readonly network: NetworkRules | undefined
  readonly catalog: string | undefined
  readonly execute: ((input: unknown, context: ToolContext) => unknown) | undefined
  readonly transport: ToolTransport | undefined
  readonly reconcile: ((input: unknown, context: ToolContext) => Reconciled | Promise<Reconciled>) | undefined
  readonly simulate: ((input: unknown) => unknown) | undefined
  /** For the type checker only. */
  readonly types?: { readonly accepts: (input: I) => void; readonly gives: O }
}
export type AnyTool = Tool<never, unknown>

/**
 * Defines a tool.
 * @throws DEFINITION_INVALID for a bad name, no description, a reconcilable tool without `reconcile`, neither or both of `execute` and
 *   `transport`, or numbers that are no positive integers
 */
export function tool<S extends StandardSchemaV1, O extends StandardSchemaV1>(
  definition: CheckedTool<S, O>,
): Tool<StandardSchemaV1.InferInput<S>, StandardSchemaV1.InferOutput<O>>
export function tool<S extends StandardSchemaV1, R>(
  definition: PlainTool<S, R>,
): Tool<StandardSchemaV1.InferInput<S>, R>
export function tool(
  d: CheckedTool<StandardSchemaV1, StandardSchemaV1> | PlainTool<StandardSchemaV1, unknown>,
): AnyTool {
  const wrong = (why: string, next: string): ConvokeError =>
    new ConvokeError('DEFINITION_INVALID', `tool ${JSON.stringify(d.name)}: ${why}`, {
      details: { tool: String(d.name) },
      next,
    })
  if (typeof d.name !== 'string' || !/^[A-Za-z][A-Za-z0-9._-]{0,63}$/.test(d.name))
    throw wrong('this cannot be a name', 'use a letter, then letters, digits and . _ -, 64 characters at most')
  if (typeof d.description !== 'string')
    throw wrong('it has no description', 'say what it does: models and the people who approve its calls read it')
  if (!['read', 'idempotent', 'keyed', 'reconcilable', 'unsafe'].includes(d.effect))
    throw wrong(
      `effect ${JSON.stringify(d.effect)} is unknown`,
      'say read, idempotent, keyed, reconcilable or unsafe; when in doubt, unsafe',
    )
  if (d.effect === 'reconcilable' && typeof d.reconcile !== 'function')
    throw wrong('a reconcilable tool must be able to answer', 'add reconcile(), or call the tool unsafe')
  if ((typeof d.execute === 'function') === (d.transport !== undefined))
    throw wrong('exactly one of execute and transport does the work', 'give one of them')
  if (d.inputSchema?.['~standard'] === undefined)
    throw wrong('inputSchema is not a Standard Schema', 'use a Zod 4 schema, for instance')
  if (d.accepts !== undefined) assertAccepts(d.accepts, d.name)
  const positive = (value: number, what: string): number => {
    if (!Number.isSafeInteger(value) || value < 1) throw wrong(`${what} is ${value}`, 'use a positive integer')
    return value
  }
  return Object.freeze({
    kind: 'tool',
    name: d.name,
    description: d.description,
    version: d.version ?? '1',
    effect: d.effect,
    inputSchema: d.inputSchema,
    outputSchema: d.outputSchema,
    timeoutMs: positive(d.timeoutMs ?? 60_000, 'timeoutMs'),
    maxResultBytes: positive(d.maxResultBytes ?? 8 * 1024 * 1024, 'maxResultBytes'),
    retry: Object.freeze({
      attempts: positive(d.retry?.attempts ?? 4, 'retry.attempts'),
      delayMs: positive(d.retry?.delayMs ?? 500, 'retry.delayMs'),
      maxDelayMs: positive(d.retry?.maxDelayMs ?? 30_000, 'retry.maxDelayMs'),
    }),
    labels: Object.freeze({ ...d.labels }),
    accepts: d.accepts === undefined ? undefined : Object.freeze({ ...d.accepts }),
    categories: Object.freeze([...(d.categories ?? [])]),
    external: d.external ?? d.effect !== 'read',
    network: d.network,
    catalog: d.catalog,
    execute: d.execute,
    transport: d.transport,
    reconcile: d.reconcile,
    simulate: d.simulate,
  })
}
