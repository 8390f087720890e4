/** One task in one folder, to be killed anywhere and started again. Arguments: folder, data, task. */
import { join } from 'node:path'
import { deskApp, driveAll, runOf, serve } from './app.ts'
import { readTasks, readTools } from './suite.ts'

const [dir, data, id] = process.argv.slice(2) as [string, string, string]
const app = deskApp({
  tasks: readTasks(data),
  tools: readTools(data),
  store: join(dir, 'store'),
  book: join(dir, 'book.jsonl'),
  approve: true,
})
const handle = await app.start(serve, { task: id }, { id: runOf(id) })
await app.work()
const approvals = await driveAll(app)
const result = await handle.result()
await app.close()
process.stdout.write(`${JSON.stringify({ result, approvals })}\n`)
