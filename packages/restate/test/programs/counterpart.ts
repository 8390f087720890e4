/**
 * The other side of every effect, in a process of its own: it outlives all that is killed, and counts.
 *
 *     POST /effect     { run, step, worker } with an idempotency-key: answered at once, or held while it is told to
 *     POST /hold       { step: n } effects of that step are not answered until POST /release
 *     GET  /effects    all that came, in order
 */
import { createServer } from 'node:http'
import { json } from 'node:stream/consumers'

export interface Effect {
  readonly run: string
  readonly step: number
  /** Its process id. */
  readonly worker: number
  readonly key: string
  /** Milliseconds of this process's clock. */
  readonly at: number
  /** The same key was seen before, so nothing was done. */
  readonly repeated: boolean
}

const effects: Effect[] = []
const done = new Set<string>()
const held: (() => void)[] = []
let hold: number | undefined

const server = createServer((request, response) => {
  void answer(request.method ?? '', request.url ?? '', request)
    .then((body) => response.end(JSON.stringify(body)))
    .catch((error: unknown) => response.writeHead(500).end(String(error)))
})

async function answer(
  method: string,
  url: string,
  request: NodeJS.ReadableStream & { headers: object },
): Promise<unknown> {
  if (method === 'GET' && url === '/effects') return effects
  const body = (await json(request)) as { run: string; step: number; worker: number }
  if (url === '/hold') {
    hold = body.step
    return {}
  }
  if (url === '/release') {
    hold = undefined
    for (const go of held.splice(0)) go()
    return {}
  }
  const key = String((request.headers as Record<string, unknown>)['idempotency-key'])
  effects.push({ ...body, key, at: Date.now(), repeated: done.has(key) })
  done.add(key)
  if (hold === body.step) await new Promise<void>((resolve) => held.push(resolve))
  return { step: body.step }
}

server.listen(0, '127.0.0.1', () => {
  const address = server.address() as { port: number }
  process.send?.({ port: address.port })
})
process.once('disconnect', () => process.exit())
