/**
 * Trouble on order, for crash and fault tests of clients. Owns the list of faults still due: each is used up by the
 * next `times` matching requests, in the order in which they were added. Nothing of this exists without --allow-faults
 * or --faults.
 */
import type { ServerResponse } from 'node:http'
import { once } from 'node:events'
import { z } from 'zod'
import { problem } from './problem.ts'
import type { Result } from './result.ts'

const target = {
  method: z.string().optional(),
  /** The path without its query; a `*` at the end matches any rest. Absent: every path. */
  path: z.string().optional(),
  times: z.int().min(1).max(1_000_000).default(1),
}

/** `before`: nothing was done when it strikes; `after`: the effect is committed. */
const when = z.enum(['before', 'after'])

export const Fault = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('drop'), when: when.default('after'), ...target }),
  z.strictObject({
    kind: z.literal('delay'),
    when: when.default('before'),
    ms: z.int().min(0).max(600_000),
    ...target,
  }),
  z.strictObject({ kind: z.literal('error'), when: when.default('before'), ...target }),
  z.strictObject({ kind: z.literal('rate-limit'), retryAfter: z.int().min(0).default(1), ...target }),
  /** Headers, then nothing more. */
  z.strictObject({ kind: z.literal('silent'), ...target }),
  z.strictObject({ kind: z.literal('huge'), bytes: z.int().min(1).default(100_000_000), ...target }),
  z.strictObject({ kind: z.literal('garbage'), ...target }),
  /** The process kills itself: before the commit of a POST, or after it and before the reply. */
  z.strictObject({ kind: z.literal('crash'), when: when.default('after'), ...target }),
])
export type Fault = z.infer<typeof Fault>
/** As it is written down, with defaults left out. */
export type FaultInput = z.input<typeof Fault>
export const FaultList = z.array(Fault)

export interface Faults {
  add(faults: readonly Fault[]): void
  clear(): void
  /** The fault of this request, used up by asking. */
  take(method: string, path: string): Fault | undefined
}

export function createFaults(initial: readonly Fault[] = []): Faults {
  let due = initial.map((fault) => ({ ...fault }))
  const hits = (fault: Fault, method: string, path: string): boolean =>
    (fault.method ?? method) === method &&
    (fault.path === undefined ||
      fault.path === path ||
      (fault.path.endsWith('*') && path.startsWith(fault.path.slice(0, -1))))
  return {
    add: (faults) => {
      due.push(...faults.map((fault) => ({ ...fault })))
    },
    clear: () => {
      due = []
    },
    take: (method, path) => {
      const fault = due.find((each) => hits(each, method, path))
      if (fault === undefined) return undefined
      fault.times -= 1
      due = due.filter((each) => each.times > 0)
      return fault
    },
  }
}

/** The refusal that stands in for the request's own work, where the fault is one. */
export function refusalOf(fault: Fault | undefined): Result | undefined {
  if (fault?.kind === 'rate-limit') {
    const refusal = problem(429, 'RATE_LIMITED', `try again in ${fault.retryAfter} s`)
    return { ...refusal, headers: { 'Retry-After': String(fault.retryAfter) } }
  }
  if (fault?.kind === 'error' && fault.when === 'before')
    return problem(500, 'INTERNAL', 'the request failed; nothing was done')
  return undefined
}

/** Replies that no well-behaved server gives are written to the socket directly; resolves when that is over. */
export async function misbehave(outgoing: ServerResponse, fault: Fault): Promise<void> {
  if (fault.kind === 'drop') outgoing.socket?.destroy()
  if (fault.kind === 'silent') {
    outgoing.writeHead(200, { 'Content-Type': 'application/json' })
    outgoing.flushHeaders()
  }
  if (fault.kind === 'garbage') {
    outgoing.writeHead(200, { 'Content-Type': 'application/json' })
    outgoing.end('{"id": "PAY-00')
  }
  if (fault.kind === 'huge') {
    outgoing.writeHead(200, { 'Content-Type': 'application/json' })
    const [open, close] = ['{"filler":"', '"}']
    const chunk = Buffer.alloc(1 << 20, 'x')
    outgoing.write(open)
    let left = fault.bytes - open.length - close.length
    while (left > 0 && !outgoing.destroyed) {
      const part = chunk.subarray(0, Math.min(left, chunk.byteLength))
      left -= part.byteLength
      if (!outgoing.write(part)) await Promise.race([once(outgoing, 'drain'), once(outgoing, 'close')])
    }
    outgoing.end(close)
  }
}

export const takesOverReply = (fault: Fault | undefined): fault is Fault =>
  fault !== undefined && ['silent', 'garbage', 'huge', 'drop'].includes(fault.kind)
