import { deepFreeze } from '../core/canonical.ts'
import { ConvokeError, toErrorData } from '../core/errors.ts'
import type { Json, JsonObject } from '../core/json.ts'
import { halted } from '../policy/halts.ts'
import type { Clock } from '../ports/runtime.ts'
import type { Task } from '../replay/types.ts'
import type { Action } from './action.ts'
import type { Call } from './deps.ts'
import { gatewayFetch, neverSent, newTrace, reasonOf, type Trace } from './fetch.ts'
import { railsOf } from './guard-run.ts'
import { redactJson } from './guard-text.ts'
import { readResult } from './result.ts'
import { conceal, resolveSecret, scrub, scrubText } from './secrets.ts'
import type { ToolContext } from './tool.ts'

/**
 * How one try ended.
 *
 * - `answered`: the tool's own answer
 * - `no`: the tool answered that it will not; nothing happened
 * - `unsent`: certainly no byte was processed; trying again is harmless
 * - `refused`: the tool asks to come later (429); nothing happened
 * - `doubt`: no answer, or one that says nothing (time-out, broken connection, 5xx); it may have happened
 * - `broken`: the tool's code threw, or the answer cannot be used; it may have happened, and a repeat would end the same
 */
export type Outcome =
  | { readonly kind: 'answered'; readonly value: unknown; readonly notes: readonly string[] }
  | {
      readonly kind: 'no' | 'unsent' | 'refused' | 'doubt' | 'broken'
      readonly error: ConvokeError
      readonly retryAfterMs?: number
    }

/** Made when somebody asks for it: few reads do. */
export function keyOf(call: Call, task: Task, generation: number): () => string {
  let key: string | undefined
  return () => (key ??= idempotencyKey(call, task, generation))
}

/** R4: everything that names the call, and nothing that changes from try to try. */
function idempotencyKey(call: Call, task: Task, generation: number): string {
  const { tool, deps } = call
  return deps
    .keyed(JSON.stringify(['idempotency', task.tenant, task.run, task.path, tool.name, tool.version, generation]))
    .slice(0, 48)
}

export function contextOf(
  call: Call,
  task: Task,
  action: Action,
  key: () => string,
  signal: AbortSignal,
  trace: Trace,
): ToolContext {
  const { deps, tool } = call
  const context: { -readonly [K in keyof ToolContext]: ToolContext[K] } = {
    signal,
    // An accessor costs more than all the rest, so there is one only where the key is not known already.
    idempotencyKey: tool.effect === 'read' ? '' : key(),
    tenant: task.tenant,
    run: task.run,
    path: task.path,
    secret: (name) => resolveSecret(deps.secrets, name),
    conceal: (value, name) => conceal(deps.secrets, value, name),
    fetch: gatewayFetch({
      tool: tool.name,
      signal,
      maxBytes: tool.maxResultBytes,
      assertLease: () => assertMayAct(call, task),
      now: () => deps.clock.now(),
      trace,
      network: deps.network,
      rules: tool.network ?? deps.networkRules ?? {},
    }),
    blob: (hash) => deps.ledger.getBlob(task.tenant, hash),
    progress: (data) =>
      task.scope.engine.live(task.scope, 'tool.progress', {
        path: task.path,
        tool: tool.name,
        ...shownProgress(call, scrub(deps.secrets, data)),
      }),
  }
  if (action.businessKey !== undefined) context.businessKey = action.businessKey
  if (tool.effect === 'read') Object.defineProperty(context, 'idempotencyKey', { get: key, enumerable: true })
  return context
}

/**
 * Progress is shown before the answer is there to be judged: rules about text hold for it, and where they would not
 * redact, or a guardrail has to see the whole, only that there was some.
 */
function shownProgress({ deps, tool }: Call, data: Json): JsonObject {
  let shown = data
  for (const { text, after } of railsOf(deps.guardrails, tool.name, 'output')) {
    if (after !== undefined) return { withheld: true }
    if (text === undefined) continue
    const looked = redactJson(text, shown)
    if (looked.found.length > 0 && (text.act !== 'redact' || looked.left.length > 0)) return { withheld: true }
    shown = looked.value
  }
  return { data: shown }
}

/** R7: right before the first byte, a worker that may have been replaced sends nothing, and nobody who was stopped. */
function assertMayAct(call: Call, task: Task): void {
  const { lease, halts } = call.deps
  if (lease.remaining() <= 0)
    throw new ConvokeError('LEASE_EXPIRED', `worker ${lease.worker} lost its lease before ${call.tool.name} was called`)
  const halt = halts?.concerning(task.run, call.caller.role)
  if (halt !== undefined) throw halted(task.run, halt)
  if (halts?.fresh() === false)
    throw new ConvokeError(
      'RUN_HALTED',
      `worker ${lease.worker} does not know of orders to stop that are recent enough`,
      {
        details: { run: task.run, worker: lease.worker },
        next: 'nothing: it reads them and goes on',
      },
    )
}

/** Makes one try. Never rejects, except when a read is given up. */
export async function perform(call: Call, task: Task, action: Action, key: () => string): Promise<Outcome> {
  const { deps, tool } = call
  const trace = newTrace()
  try {
    assertMayAct(call, task)
    deps.probe?.(`tool.before:${tool.name}`)
    const answer = await bounded(call, task, trace, (signal) => invoke(call, task, action, key, signal, trace))
    deps.probe?.(`tool.after:${tool.name}`)
    if (answer instanceof Response) {
      const failed = answer.ok ? undefined : byStatus(call, answer.status, trace, await answer.clone().text())
      if (failed !== undefined) return failed
    }
    const raw = await readResult(tool, answer)
    return { kind: 'answered', value: scrub(deps.secrets, raw.value as Json), notes: raw.notes }
  } catch (error) {
    if (task.signal.aborted && tool.effect === 'read')
      throw task.scope.dead ? new ConvokeError('SCOPE_CANCELLED', `step ${task.path} was given up`) : error
    return classify(call, error, trace)
  } finally {
    trace.over = true
  }
}

function invoke(call: Call, task: Task, action: Action, key: () => string, signal: AbortSignal, trace: Trace): unknown {
  const { tool } = call
  const context = contextOf(call, task, action, key, signal, trace)
  const input = deepFreeze(action.input)
  if (tool.execute !== undefined) return tool.execute(input, context)
  return tool.transport?.call({
    tool: tool.name,
    input,
    idempotencyKey: key(),
    ...(action.businessKey === undefined ? {} : { businessKey: action.businessKey }),
    tenant: task.tenant,
    run: task.run,
    path: task.path,
    signal,
    secret: (name) => context.secret(name),
    conceal: (value, name) => context.conceal(value, name),
    fetch: (url, init) => context.fetch(url, init),
    progress: (data) => context.progress(data),
    assertLease: () => assertMayAct(call, task),
  })
}

/** Gives up at the time-out whether or not the tool listens; an effect is not given up for anything else. */
export async function bounded<T>(
  call: Call,
  task: Task,
  trace: Trace,
  work: (signal: AbortSignal) => T | Promise<T>,
): Promise<T> {
  const { tool, timeoutMs, deps } = call
  const own = new AbortController()
  return new Promise<T>((resolve, reject) => {
    const giveUp = (reason: Error): void => {
      trace.over = true
      own.abort(reason)
      reject(reason)
    }
    const deaf = tool.effect === 'read' ? task.onAbort(giveUp) : undefined
    if (own.signal.aborted) return
    const still = alarm(deps.clock, timeoutMs, () =>
      giveUp(
        new ConvokeError('TOOL_TIMEOUT', `${tool.name} took longer than ${timeoutMs} ms`, {
          details: { tool: tool.name, timeoutMs },
        }),
      ),
    )
    const end = (): void => {
      still()
      deaf?.()
    }
    new Promise<T>((begun) => begun(work(own.signal))).then(
      (value) => (end(), resolve(value)),
      (error: unknown) => (end(), reject(error as Error)),
    )
  })
}

/** Rings after `ms` unless it is taken off before. */
function alarm(clock: Clock, ms: number, ring: () => void): () => void {
  if (clock.after !== undefined && ms < 2 ** 31) return clock.after(ms, ring)
  const off = new AbortController()
  clock.sleep(ms, off.signal).then(ring, () => undefined)
  return () => off.abort()
}

function byStatus(call: Call, status: number, trace: Trace, body: string): Outcome {
  const name = call.tool.name
  const excerpt = scrubText(call.deps.secrets, body.slice(0, 2000).toWellFormed())
  const error = new ConvokeError(
    comesBack(status) ? 'TOOL_UNREACHABLE' : 'TOOL_FAILED',
    `${name} answered ${status}${excerpt === '' ? '' : `: ${excerpt.slice(0, 300)}`}`,
    { details: { tool: name, status, body: excerpt } },
  )
  return ofStatus(status, trace, error)
}

function comesBack(status: number): boolean {
  return status >= 500 || status === 429 || status === 408 || status === 425
}

/** What an HTTP status says (RFC 9110; 429 and 425: RFC 6585 and 8470). */
function ofStatus(status: number, trace: Trace, error: ConvokeError): Outcome {
  const earlierWrites = trace.writes > 1
  const wait = trace.retryAfterMs === undefined ? {} : { retryAfterMs: trace.retryAfterMs }
  if (status === 429 || status === 425) return { kind: earlierWrites ? 'doubt' : 'refused', error, ...wait }
  if (status === 408 || status >= 500) return { kind: 'doubt', error, ...wait }
  // A conflict may be about an earlier try of this very call.
  if (status >= 400 && status !== 409 && !earlierWrites) return { kind: 'no', error }
  return { kind: 'broken', error }
}

function classify(call: Call, thrown: unknown, trace: Trace): Outcome {
  const { tool } = call
  const error = asToolError(call, thrown)
  const { details } = error
  const wait = typeof details?.['retryAfterMs'] === 'number' ? details['retryAfterMs'] : trace.retryAfterMs
  const later = wait === undefined ? {} : { retryAfterMs: wait }
  const writes = trace.writes > 0
  if (thrown instanceof ConvokeError) {
    switch (error.code) {
      case 'LEASE_EXPIRED':
      case 'RUN_HALTED':
        return { kind: writes ? 'doubt' : 'unsent', error }
      case 'TOOL_TIMEOUT':
        return { kind: 'doubt', error, ...later }
      case 'TOOL_UNREACHABLE':
        return { kind: details?.['sent'] === false && !writes ? 'unsent' : 'doubt', error, ...later }
      case 'TOOL_FAILED':
        return { kind: trace.writes <= 1 ? 'no' : 'broken', error }
      case 'SECRET_MISSING':
      case 'NETWORK_DENIED':
      case 'TOOL_QUARANTINED':
      case 'TOOL_INPUT_INVALID':
        return { kind: writes ? 'broken' : 'no', error }
      default:
        return { kind: 'broken', error }
    }
  }
  const status = trace.lastStatus
  if (status !== undefined && status >= 400) {
    const code = comesBack(status) ? 'TOOL_UNREACHABLE' : 'TOOL_FAILED'
    return ofStatus(status, trace, new ConvokeError(code, error.message, { details: { ...details, status } }))
  }
  // A client of the tool's own: what it had sent before is not known here, so this is no proof that nothing was.
  if (neverSent(thrown))
    return {
      kind: 'doubt',
      error: new ConvokeError('TOOL_UNREACHABLE', `${tool.name} did not answer: ${error.message}`, {
        details: { tool: tool.name },
        cause: thrown,
      }),
    }
  return { kind: 'broken', error }
}

/** What a tool threw, without its secrets; whatever has no code of ours becomes TOOL_FAILED. */
function asToolError(call: Call, thrown: unknown): ConvokeError {
  const { deps, tool } = call
  const data = toErrorData(thrown, 'TOOL_FAILED')
  const known = thrown instanceof ConvokeError
  return new ConvokeError(
    known ? data.code : 'TOOL_FAILED',
    scrubText(deps.secrets, known ? data.message : reasonOf(thrown).toWellFormed().slice(0, 20_000)),
    {
      details: {
        tool: tool.name,
        ...(known || data.code === 'TOOL_FAILED' ? {} : { code: data.code }),
        ...scrub(deps.secrets, data.details ?? {}),
      },
      ...(data.next === undefined ? {} : { next: scrubText(deps.secrets, data.next) }),
      cause: thrown,
    },
  )
}
