import { writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

// The world outside, in a process of its own: it counts what really happened, per case. Argument: a file for its port.
// POST /<case>/effect/<name> takes effect once per Idempotency-Key; POST /<case>/ran/<step> counts; GET /<case>/audit
// tells. It ends with its parent's pipe.

interface Case {
  readonly effects: Record<string, number>
  readonly ran: Record<string, number>
  readonly keys: Map<string, string>
}
const cases = new Map<string, Case>()

const server = createServer((request, response) => {
  const [, name = '', kind = '', ...rest] = (request.url ?? '').split('/').map(decodeURIComponent)
  const one = cases.get(name) ?? { effects: {}, ran: {}, keys: new Map<string, string>() }
  cases.set(name, one)
  const what = rest.join('/')
  let answer: unknown
  if (kind === 'audit') answer = { effects: one.effects, ran: one.ran }
  else if (kind === 'ran') answer = { times: (one.ran[what] = (one.ran[what] ?? 0) + 1) }
  else {
    const key = `${what}\n${String(request.headers['idempotency-key'])}`
    if (!one.keys.has(key)) {
      one.effects[what] = (one.effects[what] ?? 0) + 1
      one.keys.set(key, `${what}-${one.effects[what]}`)
    }
    answer = { id: one.keys.get(key) }
  }
  request.resume()
  request.on('end', () => {
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify(answer))
  })
})
server.listen(0, '127.0.0.1', () =>
  writeFileSync(process.argv[2] as string, String((server.address() as AddressInfo).port)),
)
process.stdin.on('end', () => process.exit(0)).resume()
