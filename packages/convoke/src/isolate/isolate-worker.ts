import { Socket } from 'node:net'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { canonicalize } from '../core/canonical.ts'
import { ConvokeError, fromErrorData, toErrorData } from '../core/errors.ts'
import type { Json } from '../core/json.ts'
import type { IsolatedContext, IsolatedFunction } from './context.ts'
import type { FromChild, Reply, RunCall, SentResponse, Start, ToChild } from './protocol.ts'

// The other end: runs one call of one exported function and says how it ended. In a process it talks over descriptor 3,
// and a watcher thread ends the process when it holds more memory than it may or its parent is gone, busy loop or not.

let post: (message: FromChild) => void
let start: Start | undefined
let work: IsolatedFunction<Json, unknown> | undefined
let counter = 0
const waiting = new Map<number, (reply: Reply) => void>()

function receive(message: ToChild): void {
  if (message.type === 'start') void load(message)
  else if (message.type === 'run') void perform(message)
  else {
    const settle = waiting.get(message.id)
    waiting.delete(message.id)
    settle?.(message)
  }
}

async function load(asked: Start): Promise<void> {
  start = asked
  try {
    const found = ((await import(asked.module)) as Record<string, unknown>)[asked.export]
    if (typeof found !== 'function') throw new Error(`it exports no function ${asked.export}`)
    work = found as IsolatedFunction<Json, unknown>
    post({ type: 'ready' })
  } catch (error) {
    post({ type: 'unfit', why: textOf(error) })
  }
}

async function perform({ input, facts }: RunCall): Promise<void> {
  let value: unknown
  try {
    value = await work?.(input, { ...facts, ...asking })
  } catch (error) {
    const ours = error instanceof ConvokeError
    const data = toErrorData(error, 'TOOL_FAILED')
    post({ type: 'threw', ours, error: ours ? data : { ...data, message: textOf(error) } })
    return
  }
  if (value === undefined) {
    post({ type: 'done', text: undefined })
    return
  }
  let text: string
  try {
    text = canonicalize(value)
  } catch (error) {
    post({ type: 'unwritable', why: textOf(error) })
    return
  }
  if (Buffer.byteLength(text) > (start?.maxBytes ?? 0)) post({ type: 'large' })
  else post({ type: 'done', text })
}

function textOf(error: unknown): string {
  try {
    return (error instanceof Error ? error.message : String(error)).toWellFormed().slice(0, 20_000)
  } catch {
    return 'something that cannot be written'
  }
}

type Question<T> = T extends { readonly id: number } ? Omit<T, 'id'> : never

function ask(question: Question<FromChild>): Promise<Json> {
  const id = ++counter
  return new Promise((resolve, reject) => {
    waiting.set(id, (reply) => {
      if (reply.error === undefined) resolve(reply.value ?? null)
      else reject(fromErrorData(reply.error))
    })
    post({ ...question, id } as FromChild)
  })
}

const asking: Pick<IsolatedContext, 'secret' | 'fetch' | 'progress'> = {
  secret: async (name) => (await ask({ type: 'ask', what: 'secret', name })) as string,
  async fetch(url, init = {}) {
    const { effect, ...plain } = init
    const asked = new Request(url, plain)
    const body = asked.body === null ? undefined : Buffer.from(await asked.arrayBuffer()).toString('base64')
    const got = (await ask({
      type: 'ask',
      what: 'fetch',
      request: {
        url: asked.url,
        method: asked.method,
        headers: [...asked.headers],
        ...(body === undefined ? {} : { body }),
        ...(effect === undefined ? {} : { effect }),
      },
    })) as unknown as SentResponse
    const empty = [101, 204, 205, 304].includes(got.status)
    return new Response(empty ? null : Buffer.from(got.body, 'base64'), {
      status: got.status,
      statusText: got.statusText,
      headers: got.headers.map(([name, value]): [string, string] => [name, value]),
    })
  },
  progress: (data) => post({ type: 'progress', data }),
}

// `convoke-isolated` tells that this thread is ours: the watcher's own thread starts from a text and never comes here.
if (!isMainThread && parentPort !== null && workerData === 'convoke-isolated') {
  const port = parentPort
  post = (message) => port.postMessage(JSON.stringify(message))
  port.on('message', (text: string) => receive(JSON.parse(text) as ToChild))
} else if (isMainThread && process.argv[2] === 'convoke-isolated') {
  watchSelf(Number(process.argv[3]), Number(process.argv[4]))
  const pipe = new Socket({ fd: 3, readable: true, writable: true })
  let rest = ''
  post = (message) => void pipe.write(`${JSON.stringify(message)}\n`)
  pipe.setEncoding('utf8')
  pipe.on('data', (piece: string) => {
    const lines = (rest + piece).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) receive(JSON.parse(line) as ToChild)
  })
  pipe.on('end', endAll)
  pipe.on('error', endAll)
}

/** Ends the whole group, which is this process and what it started: who would have ended it is gone. */
function endAll(): void {
  try {
    process.kill(-process.pid, 'SIGKILL')
  } catch {
    // Where there are no groups.
    process.kill(process.pid, 'SIGKILL')
  }
}

/** `parent` is told and not looked up: it may have been gone before this process came to look. */
function watchSelf(maxBytes: number, parent: number): void {
  const watcher = new Worker(
    `const { writeSync } = require('node:fs')
    const end = () => {
      try { process.kill(-process.pid, 'SIGKILL') } catch { process.kill(process.pid, 'SIGKILL') }
    }
    setInterval(() => {
      if (process.ppid !== ${parent}) end()
      if (process.memoryUsage.rss() > ${maxBytes}) {
        try { writeSync(2, '\\nconvoke: out of memory\\n') } catch {}
        end()
      }
    }, 50)`,
    { eval: true, env: {}, execArgv: [], resourceLimits: { maxOldGenerationSizeMb: 16 } },
  )
  watcher.unref()
}
