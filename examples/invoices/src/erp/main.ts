/**
 * The ERP as a process: `node main.ts --data DIR [--port N] [--port-file FILE] [--parent PID] [--watch-stdin]
 * [--wait-lock MS] [--allow-faults] [--faults FILE]`.
 *
 * 1. It does not outlive its parent, however that ends: it watches the parent's id and, with --watch-stdin, the pipe
 *    that the parent holds.
 * 2. SIGINT and SIGHUP are the parent's to act on (a terminal sends them to the whole group): the runs still need the
 *    ERP while they park. SIGTERM ends it.
 * 3. Once it listens it writes its port to --port-file (through a rename, so never half of it) and one line of JSON to
 *    stdout. Errors go to stderr as `CODE: message`; exit 2 for wrong usage, 1 for the rest.
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { parseArgs } from 'node:util'
import { createAdaptorServer } from '@hono/node-server'
import { createApp } from './app.ts'
import { openErpDatabase } from './database.ts'
import { ErpError } from './error.ts'
import { FaultList, createFaults } from './faults.ts'
import type { Fault } from './faults.ts'

interface Options {
  dataDir: string
  port: number
  portFile: string | undefined
  parent: number
  watchStdin: boolean
  waitLockMs: number
  allowFaults: boolean
  faults: Fault[]
}

// From the first moment, so that an early Ctrl-C cannot hit it.
process.on('SIGINT', () => {})
process.on('SIGHUP', () => {})

try {
  await main(readOptions(process.argv.slice(2)))
} catch (error) {
  const code = error instanceof ErpError ? error.code : 'ERP_FAILED'
  console.error(`${code}: ${error instanceof Error ? error.message : String(error)}`)
  process.exit(code === 'USAGE' ? 2 : 1)
}

async function main(options: Options): Promise<void> {
  const watch = setInterval(() => {
    if (process.ppid !== options.parent) process.exit(0)
  }, 100)
  if (options.watchStdin) {
    // SQLite commits are synchronous, so an exit between events never cuts one.
    process.stdin
      .on('end', () => process.exit(0))
      .on('error', () => process.exit(0))
      .resume()
  }
  const erp = await openErpDatabase(options.dataDir, options.waitLockMs)
  if (options.portFile !== undefined) rmSync(options.portFile, { force: true })
  const app = createApp({
    db: erp.db,
    now: Date.now,
    faults: createFaults(options.faults),
    faultHook: options.allowFaults,
    crash: () => process.kill(process.pid, 'SIGKILL'),
  })
  const server = createAdaptorServer({ fetch: app.fetch }) as Server
  const port = await listen(server, options.port)
  process.on('SIGTERM', () => {
    clearInterval(watch)
    server.close()
    server.closeAllConnections()
    erp.close()
    process.exit(0)
  })
  if (options.portFile !== undefined) {
    writeFileSync(`${options.portFile}.tmp`, `${port}\n`)
    renameSync(`${options.portFile}.tmp`, options.portFile)
  }
  console.log(JSON.stringify({ event: 'listening', url: `http://127.0.0.1:${port}`, port, pid: process.pid }))
}

function listen(server: Server, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const inUse = error.code === 'EADDRINUSE'
      const message = inUse ? `port ${port} on 127.0.0.1 is taken; leave --port out for a free one` : error.message
      reject(new ErpError(inUse ? 'PORT_IN_USE' : 'LISTEN_FAILED', message, { cause: error }))
    })
    server.listen(port, '127.0.0.1', () => resolve((server.address() as AddressInfo).port))
  })
}

function readOptions(args: string[]): Options {
  try {
    const { values } = parseArgs({
      args,
      options: {
        data: { type: 'string' },
        port: { type: 'string', default: '0' },
        'port-file': { type: 'string' },
        parent: { type: 'string', default: String(process.ppid) },
        'watch-stdin': { type: 'boolean', default: false },
        'wait-lock': { type: 'string', default: '10000' },
        'allow-faults': { type: 'boolean', default: false },
        faults: { type: 'string' },
      },
    })
    if (values.data === undefined) throw new Error('--data DIR is required')
    return {
      dataDir: values.data,
      port: whole(values.port, '--port', 65_535),
      portFile: values['port-file'],
      parent: whole(values.parent, '--parent', 2 ** 31),
      watchStdin: values['watch-stdin'],
      waitLockMs: whole(values['wait-lock'], '--wait-lock', 3_600_000),
      allowFaults: values['allow-faults'],
      faults: values.faults === undefined ? [] : FaultList.parse(JSON.parse(readFileSync(values.faults, 'utf8'))),
    }
  } catch (error) {
    throw new ErpError('USAGE', error instanceof Error ? error.message : String(error), { cause: error })
  }
}

function whole(text: string, option: string, max: number): number {
  const value = Number(text)
  if (!/^\d+$/.test(text) || value > max) throw new Error(`${option} takes a whole number up to ${max}, not ${text}`)
  return value
}
