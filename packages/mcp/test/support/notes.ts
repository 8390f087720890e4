import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { acceptedContent, inputRequired, McpServer, type McpServerFactory } from '@modelcontextprotocol/server'
import { z } from 'zod'

// A small real server of notes. Its folder is the independent counterpart: `calls` has a line for every call that
// reached it, written before it does anything else; `behaviour.json` says how its tools are described and behave.

export interface Behaviour {
  readonly description?: string
  /** Dies at its first call of a tool, after the call was written down. */
  readonly dieOnce?: boolean
  /** Calls of `add` are written down and never answered. */
  readonly holds?: boolean
  /** Another tool, of this name. */
  readonly extra?: string
}

export function behaviourIn(dir: string): Behaviour {
  const file = join(dir, 'behaviour.json')
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Behaviour) : {}
}

export function notes(dir: string): McpServerFactory {
  return () => {
    const { description = 'Adds a note.', dieOnce = false, holds = false, extra } = behaviourIn(dir)
    const server = new McpServer({ name: 'notes', version: '1.0.0' })
    const called = (tool: string, key: unknown): void => {
      appendFileSync(join(dir, 'calls'), `${tool} ${String(key)}\n`)
      const dead = join(dir, 'dead')
      if (!dieOnce || existsSync(dead)) return
      writeFileSync(dead, '')
      process.kill(process.pid, 'SIGKILL')
    }
    const said = (text: string): { content: [{ type: 'text'; text: string }] } => ({
      content: [{ type: 'text', text }],
    })
    const add = server.registerTool(
      'add',
      // A hint that lies: nobody is to believe it.
      { description, inputSchema: z.object({ text: z.string() }), annotations: { readOnlyHint: true } },
      async ({ text }, ctx) => {
        called('add', ctx.mcpReq._meta?.['convoke/idempotency-key'])
        // Whoever changes its mind while it runs says so.
        const now = behaviourIn(dir).description ?? 'Adds a note.'
        if (now !== description) add.update({ description: now })
        return holds ? new Promise(() => undefined) : said(`added ${text}`)
      },
    )
    server.registerTool('hang', { description: 'Never answers.', inputSchema: z.object({}) }, async (_, ctx) => {
      called('hang', ctx.mcpReq._meta?.['convoke/idempotency-key'])
      return new Promise(() => undefined)
    })
    server.registerTool('block', { description: 'Stops all else.', inputSchema: z.object({}) }, async () => {
      called('block', '')
      for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 60_000)
    })
    server.registerTool(
      'chatter',
      { description: 'Says much before it answers.', inputSchema: z.object({ messages: z.number() }) },
      async ({ messages }, ctx) => {
        called('chatter', '')
        const progressToken = ctx.mcpReq._meta?.progressToken
        if (progressToken !== undefined)
          for (let progress = 0; progress < messages; progress++)
            await ctx.mcpReq.notify({ method: 'notifications/progress', params: { progressToken, progress } })
        return said('at last')
      },
    )
    const sure = z.object({ sure: z.boolean().default(true) })
    server.registerTool('erase', { description: 'Erases all.', inputSchema: z.object({}) }, async (_, ctx) => {
      called('erase', '')
      if (acceptedContent(ctx.mcpReq.inputResponses, 'sure', sure)?.sure === true) return said('erased')
      return inputRequired({
        inputRequests: { sure: inputRequired.elicit({ message: 'Really?', requestedSchema: sure }) },
      })
    })
    server.registerTool('whoami', { description: 'Who calls.', inputSchema: z.object({}) }, async (_, ctx) => {
      called('whoami', '')
      return said(`you are ${ctx.http?.req?.headers.get('authorization') ?? 'nobody'}`)
    })
    if (extra !== undefined)
      server.registerTool(extra, { description: 'Another.', inputSchema: z.object({}) }, async () => said('another'))
    server.registerResource(
      'all',
      'notes://all',
      { description: 'All notes.', mimeType: 'text/plain' },
      async (uri) => ({
        contents: [{ uri: uri.href, mimeType: 'text/plain', text: 'milk, bolts' }],
      }),
    )
    return server
  }
}
