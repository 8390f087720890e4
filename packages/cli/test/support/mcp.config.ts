// An app with a real MCP server, and a second one where SECOND names its folder. NOTES is a folder: the pins and what the
// servers write down are there.
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { mcpTools, type StdioServer } from '@convoke/mcp'
import { defineConfig, policy, workflow } from 'convoke'

const dir = process.env['NOTES'] ?? '.'
const program = join(import.meta.dirname, '../../../mcp/test/support/stdio-server.ts')

function server(name: string, how = 'well'): StdioServer {
  mkdirSync(join(dir, name), { recursive: true })
  return {
    name,
    command: process.execPath,
    args: ['--conditions=convoke-source', program, join(dir, name), how],
    tools: { add: 'idempotent' },
  }
}

const second = process.env['SECOND']

export const mcp = await mcpTools({
  pins: join(dir, 'convoke.mcp.json'),
  servers: [server('notes', process.env['HOW']), ...(second === undefined ? [] : [server(second)])],
})

const note = workflow({ name: 'note' }, async (run) => {
  const add = mcp.tools.find(({ name }) => name === 'notes.add')
  return add === undefined ? 'no such tool' : run.call(add, { text: 'milk' })
})

export const config = defineConfig({
  workflows: { note },
  tools: mcp.tools,
  policy: policy({ version: '1', rules: [{ tool: 'notes.*', allow: true }] }),
})
