// The server of notes over streamable HTTP. Arguments: its folder, `sessions` (2025-11-25) or `stateless` (2026-07-28), a
// port, and the token that it demands. Prints the port that it got.
import { randomUUID } from 'node:crypto'
import { appendFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { NodeStreamableHTTPServerTransport, toNodeHandler } from '@modelcontextprotocol/node'
import { createMcpHandler, type McpServer } from '@modelcontextprotocol/server'
import { notes } from './notes.ts'

const [dir = '.', kind = 'stateless', port = '0', token = ''] = process.argv.slice(2)

type Answer = (req: IncomingMessage, res: ServerResponse) => void

function withSessions(): Answer {
  const sessions = new Map<string, NodeStreamableHTTPServerTransport>()
  return (req, res) => {
    const id = req.headers['mcp-session-id']
    appendFileSync(join(dir, 'requests'), `${req.method ?? ''} ${String(id)}\n`)
    const known = typeof id === 'string' ? sessions.get(id) : undefined
    if (known !== undefined) {
      void known.handleRequest(req, res)
      return
    }
    if (id !== undefined) {
      res.writeHead(404).end()
      return
    }
    const transport = new NodeStreamableHTTPServerTransport({
      sessionIdGenerator: () => randomUUID(),
      onsessioninitialized: (made) => void sessions.set(made, transport),
      onsessionclosed: (gone) => void sessions.delete(gone),
    })
    const made = notes(dir)({ era: 'legacy' })
    void Promise.resolve(made).then(async (server) => {
      await (server as McpServer).connect(transport)
      await transport.handleRequest(req, res)
    })
  }
}

function stateless(): Answer {
  const handler = toNodeHandler(createMcpHandler(notes(dir), { legacy: 'reject' }))
  return (req, res) => {
    appendFileSync(join(dir, 'requests'), `${req.method ?? ''}\n`)
    void handler(req as Parameters<typeof handler>[0], res)
  }
}

const answer = kind === 'sessions' ? withSessions() : stateless()
const server = createServer((req, res) => {
  if (token !== '' && req.headers.authorization !== `Bearer ${token}`) {
    // A server that repeats what it was given, as careless ones do.
    res.writeHead(401, { 'content-type': 'text/plain' }).end(`no: ${req.headers.authorization ?? ''}`)
    return
  }
  answer(req, res)
})
server.listen(Number(port), '127.0.0.1', () => {
  process.stdout.write(`${(server.address() as AddressInfo).port}\n`)
})
