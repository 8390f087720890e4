import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { startErp } from './start.ts'
import type { Erp, StartErpOptions } from './start.ts'

let dataDir: string
let started: Erp[]
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'convoke-erp-'))
  started = []
})
afterEach(async () => {
  await Promise.all(started.map((erp) => erp.stop()))
  rmSync(dataDir, { recursive: true, force: true })
})

const start = async (options: Partial<StartErpOptions> = {}): Promise<Erp> => {
  const erp = await startErp({ dataDir, ...options })
  started.push(erp)
  return erp
}
const mainPath = fileURLToPath(new URL('./main.ts', import.meta.url))
const parentPath = fileURLToPath(new URL('./testkit-parent.ts', import.meta.url))
const run = (...args: string[]): { status: number | null; stderr: string } =>
  spawnSync(process.execPath, [mainPath, ...args], { encoding: 'utf8', timeout: 20_000 })

/** Whether the process is there and no zombie; a zombie's lock and sockets are gone. */
function alive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return !/^\d+ \(.*\) Z/.test(existsSync(`/proc/${pid}/stat`) ? readFileSync(`/proc/${pid}/stat`, 'utf8') : '')
  } catch {
    return false
  }
}

async function until(what: string, holds: () => boolean): Promise<void> {
  for (let tries = 0; tries < 400; tries++) {
    if (holds()) return
    await sleep(25)
  }
  throw new Error(`still not so after 10 s: ${what}`)
}

describe('an ERP whose parent is killed', () => {
  it.each([[], ['bare']])('ends by itself %s', async (...mode: string[]) => {
    const parent = spawn(process.execPath, [parentPath, dataDir, ...mode], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const [line] = (await once(parent.stdout, 'data')) as [Buffer]
    const { pid } = JSON.parse(line.toString()) as { pid: number }
    await until('the port file is there', () => existsSync(join(dataDir, 'erp.port')))
    expect(alive(pid)).toBe(true)
    parent.kill('SIGKILL')
    // Started at once, while the old one may still be there: it waits for the folder, and so finds the old one gone.
    const next = await start()
    expect(alive(pid)).toBe(false)
    expect((await fetch(`${next.url}/vendors`)).status).toBe(200)
  })
})

describe('signals', () => {
  it('SIGINT and SIGHUP leave it at work, SIGTERM ends it', async () => {
    const erp = await start()
    for (const signal of ['SIGINT', 'SIGINT', 'SIGHUP'] as const) process.kill(erp.pid, signal)
    expect((await fetch(`${erp.url}/vendors`)).status).toBe(200)
    process.kill(erp.pid, 'SIGTERM')
    expect(await erp.exited).toEqual({ code: 0, signal: null })
  })

  it('stop ends it even with a request that never ends, and may be called again', async () => {
    const erp = await start({ allowFaults: true })
    await fetch(`${erp.url}/__faults`, { method: 'POST', body: JSON.stringify([{ kind: 'silent' }]) })
    const silent = await fetch(`${erp.url}/vendors`)
    const body = silent.text().catch((error: Error) => error.message)
    await erp.stop()
    await erp.stop()
    expect(await body).toMatch(/terminated/)
    expect(alive(erp.pid)).toBe(false)
  })
})

describe('one data folder', () => {
  it('has never two ERPs: the second waits until the first ends', async () => {
    const first = await start()
    let listening = false
    const second = start().then((erp) => {
      listening = true
      return erp
    })
    await sleep(700)
    expect([listening, (await fetch(`${first.url}/vendors`)).status]).toEqual([false, 200])
    await first.stop()
    expect((await fetch(`${(await second).url}/vendors`)).status).toBe(200)
  })

  it('is refused with DATA_IN_USE when the first does not end', async () => {
    await start()
    await expect(start({ waitLockMs: 100 })).rejects.toMatchObject({ code: 'DATA_IN_USE' })
    const { status, stderr } = run('--data', dataDir, '--wait-lock', '0')
    expect([status, stderr]).toEqual([1, expect.stringMatching(/^DATA_IN_USE: .*another --data/m)])
  })

  it('goes to one of several that start at once', async () => {
    const all = await Promise.allSettled(Array.from({ length: 4 }, () => start({ waitLockMs: 200 })))
    expect(all.filter((each) => each.status === 'fulfilled')).toHaveLength(1)
  })

  it('written by a newer version is refused and not touched', async () => {
    await (await start()).stop()
    const db = new DatabaseSync(join(dataDir, 'erp.sqlite'))
    db.exec('PRAGMA user_version = 99')
    db.close()
    await expect(start()).rejects.toMatchObject({ code: 'DATA_VERSION' })
  })
})

describe('the port', () => {
  it('is written to a file of its own, which a stale one cannot be taken for', async () => {
    const portFile = join(dataDir, 'erp.port')
    writeFileSync(portFile, '1\n')
    const erp = await start({ portFile })
    expect(readFileSync(portFile, 'utf8')).toBe(`${erp.port}\n`)
    expect(existsSync(`${portFile}.tmp`)).toBe(false)
  })

  it('in use gives a code, a cause and what to do', async () => {
    const other = createServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    const { port } = other.address() as AddressInfo
    await expect(start({ port })).rejects.toMatchObject({ code: 'PORT_IN_USE' })
    // In a process of its own, so that the port's owner here can stay blocked meanwhile.
    const { status, stderr } = run('--data', dataDir, '--port', String(port))
    expect([status, stderr]).toEqual([1, expect.stringMatching(/^PORT_IN_USE: .*leave --port out/m)])
    other.close()
  })

  it('listens on this machine only', async () => {
    const { port } = await start()
    const hex = port.toString(16).toUpperCase().padStart(4, '0')
    const tables = ['/proc/net/tcp', '/proc/net/tcp6']
      .filter((file) => existsSync(file))
      .map((file) => readFileSync(file, 'utf8'))
    if (tables.length === 0) return
    // Local addresses of sockets in state 0A (listening) on that port; 0100007F is 127.0.0.1.
    const listening = tables.join('\n').matchAll(new RegExp(`: ([0-9A-F]+):${hex} [0-9A-F:]+ 0A`, 'g'))
    expect([...listening].map((match) => match[1])).toEqual(['0100007F'])
  })
})

describe('wrong usage', () => {
  it.each([
    [[], /--data DIR is required/],
    [['--data', '.', '--port', '70000'], /--port takes a whole number/],
    [['--data', '.', '--nope'], /nope/],
    [['--data', '.', '--faults', '/nonexistent'], /ENOENT/],
  ])('%j exits with 2', (args, message) => {
    const { status, stderr } = run(...args)
    expect([status, stderr]).toEqual([2, expect.stringMatching(message)])
    expect(stderr).toMatch(/^USAGE: /m)
  })
})
