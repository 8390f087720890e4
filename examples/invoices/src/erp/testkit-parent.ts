/** A parent to be killed: starts the ERP on argv[2] and says where it is. argv[3] `bare` leaves no pipe between them. */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { startErp } from './start.ts'

const [, , dataDir = '', mode] = process.argv
const portFile = join(dataDir, 'erp.port')
if (mode === 'bare') {
  const main = fileURLToPath(new URL('./main.ts', import.meta.url))
  const flags = ['--data', dataDir, '--port-file', portFile, '--parent', String(process.pid)]
  const child = spawn(process.execPath, [main, ...flags], { stdio: 'ignore' })
  console.log(JSON.stringify({ pid: child.pid }))
} else {
  const { pid } = await startErp({ dataDir, portFile })
  console.log(JSON.stringify({ pid }))
}
setInterval(() => {}, 60_000)
