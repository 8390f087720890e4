/** A Postgres to be measured: its processes' CPU time and memory from /proc, and statements past the ledger. */
import { readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'

/** What is used of a `pg` client; the driver is the Postgres package's own dependency. */
export interface Client {
  connect(): Promise<void>
  query(text: string, values?: readonly unknown[]): Promise<{ readonly rows: readonly Record<string, string>[] }>
  end(): Promise<void>
}

export async function connectTo(url: string): Promise<Client> {
  const require = createRequire(createRequire(import.meta.url).resolve('@convoke/postgres/package.json'))
  const { Client } = require('pg') as { Client: new (config: { connectionString: string }) => Client }
  const client = new Client({ connectionString: url })
  await client.connect()
  return client
}

const ticksPerS = 100

/** CPU time of the server and all its processes so far, in ms (of 10 ms ticks); `undefined` where there is no /proc. */
export function serverCpuMs(data: string): number | undefined {
  try {
    const server = serverPid(data)
    const all = [server, ...childrenOf(server)]
    const ticks = all.reduce((sum, pid) => {
      const fields = statOf(pid)
      // utime and stime; for the server also those of its children that have ended.
      const own = Number(fields[11]) + Number(fields[12])
      return sum + own + (pid === server ? Number(fields[13]) + Number(fields[14]) : 0)
    }, 0)
    return (ticks * 1000) / ticksPerS
  } catch {
    return undefined
  }
}

/** Proportional memory of one of the server's processes in MB (10^6); `undefined` where it cannot be read. */
export function memoryMb(pid: number): number | undefined {
  try {
    const pss = /^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1]
    return pss === undefined ? undefined : (Number(pss) * 1024) / 1e6
  } catch {
    return undefined
  }
}

function serverPid(data: string): number {
  return Number(readFileSync(join(data, 'postmaster.pid'), 'utf8').split('\n')[0])
}

function childrenOf(parent: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return Number(statOf(pid)[1]) === parent
      } catch {
        return false
      }
    })
}

/** Fields of /proc/PID/stat from the state on: the name before them may hold anything. */
function statOf(pid: number): string[] {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
  return text.slice(text.lastIndexOf(')') + 2).split(' ')
}
