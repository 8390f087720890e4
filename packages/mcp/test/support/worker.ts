// A worker: drives one run with one call until it has ended or waits, and prints how it stands. Arguments: the folder,
// the servers as JSON, the run, and the call as JSON.
import { join } from 'node:path'
import { convoke } from 'convoke'
import { mcpTools, type McpServer } from '../../src/index.ts'
import { one, type Call } from './place.ts'

const [dir = '.', servers = '[]', id = 'r_one', call = '{}'] = process.argv.slice(2)
const mcp = await mcpTools({ servers: JSON.parse(servers) as McpServer[], pins: join(dir, 'pins.json') })
const flow = one(mcp)
const app = convoke({ store: join(dir, 'store'), workflows: { flow } })
const { status, parkedOn } = await (await app.start(flow, JSON.parse(call) as Call, { id })).settled()
process.stdout.write(JSON.stringify({ status, parkedOn }))
await app.close()
await mcp.close()
