import { availableParallelism } from 'node:os'
import { decode } from '../core/canonical.ts'
import { ConvokeError, fromErrorData, toErrorData } from '../core/errors.ts'
import type { Json, JsonObject } from '../core/json.ts'
import type { ToolCall, ToolTransport } from '../ports/tool-transport.ts'
import type { IsolatedContext, IsolatedFunction } from './context.ts'
import type { FromChild, SentRequest, SentResponse } from './protocol.ts'
import { openProcess, openThread, type Fall, type Vessel } from './vessel.ts'

export interface IsolatedOptions {
  /** Where the function lives: `new URL('./tools.ts', import.meta.url)`. A function itself cannot cross threads. */
  readonly module: URL
  /** The name of the export: `(input, context) => result`. */
  readonly export: string
  /**
   * - `process` (the default): nothing it does to itself reaches the app
   * - `worker`: a thread; cheaper, but native code that crashes and memory outside the heap are the app's. Give it
   *   JavaScript: Node takes types away with WebAssembly, and such code in threads that come and go has V8 end the whole
   *   process now and then (nodejs/node 64500)
   * - `inline`: in the app's own thread, as `execute` is
   */
  readonly isolation?: 'inline' | 'worker' | 'process'
  /** Megabytes of heap; 128 unless said. A process may hold 96 more in all. */
  readonly memoryMb?: number
  /** Bytes of canonical JSON; 8 MiB unless said, as the tool's `maxResultBytes`. */
  readonly maxResultBytes?: number
  /** Calls at once of all tools of this process; as many as it has cores, and at least two, unless said. */
  readonly atOnce?: number
}

/**
 * Does a tool's work where it can be ended: `tool({ …, transport: isolated({ module, export }) })`. Each call gets a
 * thread or process of its own, with nothing of the environment; it is killed when the call is over.
 * @throws DEFINITION_INVALID
 */
export function isolated(options: IsolatedOptions): ToolTransport {
  const { isolation = 'process', memoryMb = 128, maxResultBytes = 8 * 1024 * 1024 } = options
  const atOnce = options.atOnce ?? Math.max(2, availableParallelism())
  for (const [what, value] of Object.entries({ memoryMb, maxResultBytes, atOnce }))
    if (!Number.isSafeInteger(value) || value < 1)
      throw new ConvokeError('DEFINITION_INVALID', `isolated: ${what} is ${value}`, { next: 'use a positive integer' })
  if (!['inline', 'worker', 'process'].includes(isolation))
    throw new ConvokeError('DEFINITION_INVALID', `isolated: there is no isolation ${JSON.stringify(isolation)}`)
  if (isolation === 'inline') return { call: (call) => inline(options, call) }
  const open = isolation === 'worker' ? openThread : openProcess
  return {
    async call(call) {
      const leave = await enter(atOnce, call.signal)
      try {
        return await inVessel(options, call, { open, memoryMb, maxResultBytes })
      } finally {
        leave()
      }
    },
  }
}

async function inline({ module, export: name }: IsolatedOptions, call: ToolCall): Promise<unknown> {
  const work = ((await import(module.href)) as Record<string, unknown>)[name]
  if (typeof work !== 'function') throw unfit(call, `it exports no function ${name}`)
  call.assertLease()
  return (work as IsolatedFunction<Json, unknown>)(call.input, {
    ...factsOf(call),
    secret: call.secret,
    fetch: call.fetch,
    progress: call.progress,
  } satisfies IsolatedContext)
}

interface Held {
  readonly open: typeof openThread
  readonly memoryMb: number
  readonly maxResultBytes: number
}

/** A question may carry a file in base64 and its headers. */
const slack = 1024 * 1024

async function inVessel(options: IsolatedOptions, call: ToolCall, held: Held): Promise<unknown> {
  call.assertLease()
  let vessel: Vessel | undefined
  let aborted: (() => void) | undefined
  try {
    return await new Promise<unknown>((resolve, reject) => {
      let begun = false
      aborted = () => reject(call.signal.reason as Error)
      call.signal.addEventListener('abort', aborted, { once: true })
      if (call.signal.aborted) {
        aborted()
        return
      }
      vessel = held.open({
        memoryMb: held.memoryMb,
        maxBytes: 2 * held.maxResultBytes + slack,
        onFall: (fall) => reject(begun ? crashed(call, fall) : unfit(call, sentence(fall))),
        onFlood: () => reject(tooLarge(call, held.maxResultBytes)),
        onMessage: (message) => {
          if (message.type === 'ready') {
            try {
              // The process took its time to start: whoever lost the run meanwhile does not begin the work.
              call.assertLease()
              begun = true
              vessel?.post({ type: 'run', input: call.input, facts: factsOf(call) })
            } catch (error) {
              reject(error as Error)
            }
          } else if (message.type === 'ask') void answer(call, vessel, message)
          else settle(call, message, held.maxResultBytes, resolve, reject)
        },
      })
      vessel.post({ type: 'start', module: options.module.href, export: options.export, maxBytes: held.maxResultBytes })
    })
  } finally {
    if (aborted !== undefined) call.signal.removeEventListener('abort', aborted)
    await vessel?.kill()
  }
}

function settle(
  call: ToolCall,
  message: Exclude<FromChild, { type: 'ready' | 'ask' }>,
  max: number,
  resolve: (value: unknown) => void,
  reject: (error: Error) => void,
): void {
  switch (message.type) {
    case 'progress':
      call.progress(message.data)
      return
    case 'unfit':
      reject(unfit(call, message.why))
      return
    case 'large':
      reject(tooLarge(call, max))
      return
    case 'unwritable':
      reject(
        new ConvokeError('TOOL_OUTPUT_INVALID', `${call.tool} answered with what is no data: ${message.why}`, {
          details: { tool: call.tool },
          next: 'return plain JSON values',
        }),
      )
      return
    case 'threw':
      // An error of the tool's own, not one of ours: the gateway must not take it for an answer.
      reject(message.ours ? fromErrorData(message.error) : new Error(message.error.message))
      return
    case 'done':
      try {
        resolve(message.text === undefined ? undefined : decode(message.text))
      } catch (error) {
        reject(error as Error)
      }
  }
}

async function answer(call: ToolCall, vessel: Vessel | undefined, ask: FromChild & { type: 'ask' }): Promise<void> {
  const { id } = ask
  try {
    const value = ask.what === 'secret' ? await call.secret(ask.name) : await fetchFor(call, ask.request)
    vessel?.post({ type: 'reply', id, value: value as Json })
  } catch (error) {
    vessel?.post({ type: 'reply', id, error: toErrorData(error, 'TOOL_FAILED') })
  }
}

async function fetchFor(call: ToolCall, request: SentRequest): Promise<SentResponse> {
  const { url, method, headers, body, effect } = request
  const response = await call.fetch(url, {
    method,
    headers: headers.map(([name, value]): [string, string] => [name, value]),
    ...(body === undefined ? {} : { body: Buffer.from(body, 'base64') }),
    ...(effect === undefined ? {} : { effect }),
  })
  return {
    status: response.status,
    statusText: response.statusText,
    headers: [...response.headers],
    body: Buffer.from(await response.arrayBuffer()).toString('base64'),
  }
}

function factsOf(call: ToolCall): Omit<IsolatedContext, 'secret' | 'fetch' | 'progress'> {
  const { idempotencyKey, businessKey, tenant, run, path } = call
  return { idempotencyKey, ...(businessKey === undefined ? {} : { businessKey }), tenant, run, path }
}

function sentence(fall: Fall): string {
  switch (fall.reason) {
    case 'memory':
      return 'it used more memory than it may'
    case 'signal':
      return `it was ended by ${fall.signal ?? 'a signal'}`
    case 'uncaught':
      return `it threw where nobody caught it${fall.message === undefined ? '' : `: ${fall.message}`}`
    case 'exit':
      return `it ended itself with code ${fall.exitCode ?? 0}`
  }
}

function crashed(call: ToolCall, fall: Fall): ConvokeError {
  const { message: _, ...facts } = fall
  return new ConvokeError('TOOL_CRASHED', `${call.tool} ended before it answered: ${sentence(fall)}`, {
    details: { tool: call.tool, ...(facts as JsonObject) },
    next: fall.reason === 'memory' ? 'give it more memoryMb, or let it do less at once' : 'mend the tool',
  })
}

/** Nothing was begun. */
function unfit(call: ToolCall, why: string): ConvokeError {
  return new ConvokeError('TOOL_FAILED', `the module of ${call.tool} cannot be used: ${why}`, {
    details: { tool: call.tool },
    next: 'see that the module can be imported and has the export',
  })
}

function tooLarge(call: ToolCall, max: number): ConvokeError {
  return new ConvokeError('TOOL_RESULT_TOO_LARGE', `${call.tool} answered with more than ${max} bytes`, {
    details: { tool: call.tool, maxResultBytes: max },
    next: 'ask for less, or raise maxResultBytes',
  })
}

// All isolated tools of a process share its cores: who finds no place waits, in order, and leaves when its call is over.
let inside = 0
const queue: { readonly atOnce: number; readonly go: () => void }[] = []

function enter(atOnce: number, signal: AbortSignal): Promise<() => void> {
  const leave = (): void => {
    inside--
    const next = queue[0]
    if (next !== undefined && inside < next.atOnce) {
      queue.shift()
      next.go()
    }
  }
  return new Promise((resolve, reject) => {
    const go = (): void => {
      signal.removeEventListener('abort', gone)
      inside++
      resolve(leave)
    }
    const place = { atOnce, go }
    const gone = (): void => {
      const at = queue.indexOf(place)
      if (at >= 0) queue.splice(at, 1)
      reject(signal.reason as Error)
    }
    if (signal.aborted) gone()
    else if (inside < atOnce && queue.length === 0) go()
    else {
      queue.push(place)
      signal.addEventListener('abort', gone, { once: true })
    }
  })
}
