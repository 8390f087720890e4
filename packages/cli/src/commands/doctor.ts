import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, statfsSync } from 'node:fs'
import { join } from 'node:path'
import { codes, ConvokeError, type Ledger } from 'convoke'
import { count } from 'convoke/views'
import { checkSqlite, inspectStore, openSqliteLedger } from 'convoke/sqlite'
import { findConfig, loadConfig, type Config } from '../config.ts'
import { clock, storeDir, tenantOf, type Context } from '../context.ts'
import { exit } from '../exit.ts'
import { ago } from '../output.ts'

interface Check {
  readonly name: string
  readonly state: 'ok' | 'warn' | 'bad'
  readonly says: string
  readonly next?: string
  readonly code?: string
}

/** `convoke doctor`: looks at everything a run needs, and changes nothing. */
export async function doctorCommand(context: Context): Promise<number> {
  const { out } = context
  const checks: Check[] = [node(), sqlite()]
  const config = await configuration(context, checks)
  const dir = storeDir(context, config)
  if (dir === undefined) checks.push({ name: 'store', state: 'ok', says: 'opened by the configuration' })
  else await store(context, config, dir, checks)
  out.data({ ok: checks.every((c) => c.state !== 'bad'), checks }, () => {
    const width = Math.max(...checks.map((c) => c.name.length))
    const mark = { ok: out.style.good('✓'), warn: out.style.warn('!'), bad: out.style.bad('✗') }
    return checks
      .map((c) => {
        const next = c.next === undefined ? '' : `\n  ${' '.repeat(width)}  ${out.style.faint(`next: ${c.next}`)}`
        return `${mark[c.state]} ${c.name.padEnd(width)}  ${c.code === undefined ? '' : `${c.code}  `}${c.says}${next}`
      })
      .join('\n')
  })
  return checks.some((c) => c.state === 'bad') ? exit.failed : exit.ok
}

function node(): Check {
  return { name: 'node', state: 'ok', says: `${process.version} (${process.execPath})` }
}

function sqlite(): Check {
  const version = process.versions['sqlite'] ?? 'unknown'
  try {
    checkSqlite(version)
    return { name: 'sqlite', state: 'ok', says: `${version}, without the WAL-reset bug` }
  } catch (error) {
    return bad('sqlite', error)
  }
}

function bad(name: string, error: unknown): Check {
  if (!(error instanceof ConvokeError)) return { name, state: 'bad', says: String(error) }
  return {
    name,
    state: 'bad',
    code: error.code,
    says: error.message,
    ...(error.next === undefined ? {} : { next: error.next }),
  }
}

async function configuration(context: Context, checks: Check[]): Promise<Config | undefined> {
  try {
    if (findConfig(context.cwd, context.common.app) === undefined) {
      checks.push({
        name: 'config',
        state: 'warn',
        says: 'none here or above; looking and deciding works without',
        next: 'write convoke.config.ts to run workflows',
      })
      return undefined
    }
    const config = await loadConfig(context.cwd, context.common.app)
    const names = Object.values(config.options.workflows).map((w) => w.name)
    checks.push({ name: 'config', state: 'ok', says: `${config.file} (${names.join(', ') || 'no workflows'})` })
    return config
  } catch (error) {
    checks.push(bad('config', error))
    return undefined
  }
}

async function store(context: Context, config: Config | undefined, dir: string, checks: Check[]): Promise<void> {
  let facts: ReturnType<typeof inspectStore>
  try {
    facts = inspectStore(dir)
  } catch (error) {
    checks.push(bad('store', error))
    return
  }
  const disk = diskOf(dir)
  if (facts.format === undefined) {
    checks.push(
      facts.writable
        ? { name: 'store', state: 'ok', says: `none in ${dir} yet; a first run makes it` }
        : {
            name: 'store',
            state: 'bad',
            code: 'STORE_UNUSABLE',
            says: `${dir} cannot be made`,
            next: 'choose a folder with --store',
          },
    )
    checks.push(disk)
    return
  }
  if (facts.format > facts.known) {
    checks.push({
      name: 'store',
      state: 'bad',
      code: 'STORE_NEWER',
      says: `${dir} has format ${facts.format}, this version knows ${facts.known}`,
      next: 'update Convoke',
    })
    return
  }
  checks.push(
    facts.writable
      ? { name: 'store', state: 'ok', says: `${dir}, format ${facts.format}, ${size(facts.bytes)}` }
      : {
          name: 'store',
          state: 'bad',
          code: 'STORE_UNUSABLE',
          says: `${dir} cannot be written by this user`,
          next: 'change its owner or mode, or choose another folder with --store',
        },
  )
  checks.push(disk, durability(config))
  const alive = facts.workers.filter((w) => w.alive !== false)
  checks.push({
    name: 'workers',
    state: 'ok',
    says:
      alive.length === 0
        ? 'none'
        : alive.map((w) => `process ${w.pid} on ${w.host}, since ${ago(w.since, clock.now())}`).join('; '),
  })
  if (!facts.writable) return
  try {
    const ledger = await openSqliteLedger({ dir })
    try {
      await runs(ledger, tenantOf(context, config), alive.length, checks)
    } finally {
      await ledger.close()
    }
  } catch (error) {
    checks.push(bad('runs', error))
  }
}

const stuckMs = 60_000

async function runs(ledger: Ledger, tenant: string, workers: number, checks: Check[]): Promise<void> {
  const now = clock.now()
  const ready = await ledger.ready({ now, limit: 10_000, tenant })
  const late = ready.filter((r) => r.due < now - stuckMs)
  const stopped = await ledger.runs({ tenant, status: ['stopped'], limit: 1_000 })
  const pending = await ledger.approvals({ tenant, status: 'pending', limit: 1_000 })
  if (late.length > 0)
    checks.push({
      name: 'runs',
      state: 'warn',
      says: `${count(late.length)} ready for more than a minute and driven by nobody`,
      next:
        workers === 0
          ? 'convoke resume, or convoke worker'
          : 'convoke worker: those that run are busy or lack the workflow',
    })
  else
    checks.push({
      name: 'runs',
      state: 'ok',
      says: ready.length === 0 ? 'none is ready' : `${count(ready.length)} ready`,
    })
  if (stopped.length > 0)
    checks.push({
      name: 'stopped',
      state: 'warn',
      says: stopped
        .slice(0, 3)
        .map((r) => `${r.run} ${describe(r.error)}`)
        .join('; '),
      next: `convoke show ${stopped[0]?.run ?? ''}`,
    })
  if (pending.length > 0)
    checks.push({
      name: 'people',
      state: 'ok',
      says: `${count(pending.length)} waiting for a decision`,
      next: 'convoke approvals ls',
    })
}

function describe(code: string | undefined): string {
  const says =
    code === undefined ? undefined : (codes as Readonly<Record<string, { readonly says: string }>>)[code]?.says
  return says === undefined ? (code ?? '') : `${code as string}: ${says}`
}

function durability(config: Config | undefined): Check {
  return config?.options.durability === 'process-crash-only'
    ? {
        name: 'sync',
        state: 'warn',
        says: 'process-crash-only: power loss may take the last commits',
        next: "leave durability out of the configuration for 'full'",
      }
    : { name: 'sync', state: 'ok', says: 'full: what was acknowledged survives power loss' }
}

/** File systems on which SQLite's locks or shared memory do not work, or that forget at reboot. */
const networked = /^(nfs|nfs4|cifs|smb2|smbfs|9p|fuse\.sshfs|afs|vboxsf)$/
const volatile = /^(tmpfs|ramfs|overlay)$/

function diskOf(dir: string): Check {
  const type = fsType(dir)
  const free = freeBytes(dir)
  const says = [type ?? 'unknown file system', ...(free === undefined ? [] : [`${size(free)} free`])].join(', ')
  if (type !== undefined && networked.test(type))
    return {
      name: 'disk',
      state: 'bad',
      says: `${says}: locks over a network do not hold`,
      next: 'put the store on a local disk',
    }
  if (free !== undefined && free < 100 << 20) return { name: 'disk', state: 'warn', says, next: 'free some space' }
  if (type !== undefined && volatile.test(type))
    return { name: 'disk', state: 'warn', says: `${says}: it may not outlive this machine's or container's restart` }
  return { name: 'disk', state: 'ok', says }
}

function nearest(dir: string): string {
  let at = dir
  for (let i = 0; i < 100 && !existsSync(at); i++) at = join(at, '..')
  return at
}

function freeBytes(dir: string): number | undefined {
  try {
    const { bavail, bsize } = statfsSync(nearest(dir))
    return bavail * bsize
  } catch {
    return undefined
  }
}

/** The mount whose path is the longest beginning of the folder's; on systems without /proc, what `stat` says. */
function fsType(dir: string): string | undefined {
  const at = nearest(dir)
  try {
    let found: { readonly path: string; readonly type: string } | undefined
    for (const mount of readFileSync('/proc/self/mounts', 'utf8').split('\n')) {
      const [, path, type] = mount.split(' ')
      if (path === undefined || type === undefined) continue
      const inside = at === path || at.startsWith(path === '/' ? '/' : `${path}/`)
      if (inside && path.length >= (found?.path.length ?? 0)) found = { path, type }
    }
    return found?.type
  } catch {
    try {
      return execFileSync('stat', ['-f', '%T', at], { encoding: 'utf8', timeout: 2_000 }).trim()
    } catch {
      return undefined
    }
  }
}

function size(bytes: number): string {
  const units = ['B', 'KB', 'MB', 'GB', 'TB']
  let n = bytes
  let i = 0
  while (n >= 1000 && i < units.length - 1) {
    n /= 1000
    i++
  }
  return `${i === 0 ? n : n.toFixed(1)} ${units[i] ?? ''}`
}
