// The server of notes over stdio, or one that misbehaves. Arguments: its folder, and how it misbehaves.
import { appendFileSync } from 'node:fs'
import { join } from 'node:path'
import { serveStdio } from '@modelcontextprotocol/server/stdio'
import { notes } from './notes.ts'

const [dir = '.', how = 'well'] = process.argv.slice(2)
appendFileSync(join(dir, 'starts'), `${process.pid}\n`)

/** Answers line by line, with as little as it takes. */
function answering(answer: (method: string) => unknown): void {
  let text = ''
  process.stdin.on('data', (piece: Buffer) => {
    text += piece.toString()
    const lines = text.split('\n')
    text = lines.pop() ?? ''
    for (const line of lines) {
      const { id, method } = JSON.parse(line) as { id?: number; method: string }
      const result = answer(method)
      if (id !== undefined && result !== undefined)
        process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', id, ...(result as object) })}\n`)
    }
  })
}

const none = { error: { code: -32601, message: 'no such method' } }
const initialized = {
  result: { protocolVersion: '2025-11-25', capabilities: { tools: {} }, serverInfo: { name: how, version: '1' } },
}

switch (how) {
  case 'well':
    serveStdio(notes(dir))
    break
  case 'ends':
    process.stderr.write(`cannot open the notes of ${process.env['NOTES_TOKEN'] ?? 'nobody'}\n`)
    process.exitCode = 3
    break
  case 'silent':
    process.stdin.resume()
    break
  case 'listless':
    answering((method) => (method === 'initialize' ? initialized : method === 'tools/list' ? undefined : none))
    break
  case 'endless': {
    // A list that never ends: each page names another.
    let page = 0
    answering((method) => {
      if (method === 'initialize') return initialized
      if (method !== 'tools/list') return none
      const name = `tool${page++}`
      return { result: { tools: [{ name, inputSchema: { type: 'object' } }], nextCursor: String(page) } }
    })
    break
  }
  case 'flood': {
    // Output without an end of line, for as long as somebody reads it.
    const piece = 'x'.repeat(65_536)
    const write = (): void => {
      while (process.stdout.write(piece));
    }
    process.stdout.on('drain', write)
    process.stdout.on('error', () => process.exit())
    write()
    break
  }
  default:
    throw new Error(`no way to misbehave: ${how}`)
}
