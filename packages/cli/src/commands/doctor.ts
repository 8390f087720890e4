import { codes, ConvokeError, engineModule, schemeOf, storeModule, type Finding, type Ledger } from 'convoke'
import { count } from 'convoke/views'
import { checkSqlite, inspectStore, openSqliteLedger } from 'convoke/sqlite'
import { closeConfig, findConfig, loadConfig, type Config, type McpSource } from '../config.ts'
import { clock, engineOf, openLedgerAt, storePlace, tenantOf, type Context, type Place } from '../context.ts'
import { exit } from '../exit.ts'
import { ago } from '../output.ts'
import { diskOf, size } from './disk.ts'

/** `convoke doctor`: looks at everything a run needs, and changes nothing. */
export async function doctorCommand(context: Context): Promise<number> {
  const { out } = context
  const checks: Finding[] = [node(), sqlite()]
  const config = await configuration(context, checks)
  try {
    const place = storePlace(context, config)
    if (place.kind === 'own') checks.push({ name: 'store', state: 'ok', says: 'opened by the configuration' })
    else if (place.kind === 'folder') await store(context, config, place.dir, checks)
    else await database(context, config, place, checks)
    await engine(engineOf(context, config), place, checks)
  } finally {
    await closeConfig(config)
  }
  out.data({ ok: checks.every((c) => c.state !== 'bad'), checks }, () => {
    const width = Math.max(...checks.map((c) => c.name.length))
    const mark = { ok: out.style.good('✓'), warn: out.style.warn('!'), bad: out.style.bad('✗') }
    return checks
      .map((c) => {
        const next = c.next === undefined ? '' : `\n  ${' '.repeat(width)}  ${out.style.faint(`next: ${c.next}`)}`
        return `${mark[c.state]} ${c.name.padEnd(width)}  ${c.code === undefined || c.state === 'ok' ? '' : `${c.code}  `}${c.says}${next}`
      })
      .join('\n')
  })
  return checks.some((c) => c.state === 'bad') ? exit.failed : exit.ok
}

function node(): Finding {
  return { name: 'node', state: 'ok', says: `${process.version} (${process.execPath})` }
}

function sqlite(): Finding {
  const version = process.versions['sqlite'] ?? 'unknown'
  try {
    checkSqlite(version)
    return { name: 'sqlite', state: 'ok', says: `${version}, without the WAL-reset bug` }
  } catch (error) {
    return bad('sqlite', error)
  }
}

function bad(name: string, error: unknown): Finding {
  if (!(error instanceof ConvokeError)) return { name, state: 'bad', says: String(error) }
  return {
    name,
    state: 'bad',
    code: error.code,
    says: error.message,
    ...(error.next === undefined ? {} : { next: error.next }),
  }
}

function mcp({ servers, quarantined }: McpSource): Finding {
  const silent = servers.filter(({ error }) => error !== undefined).map(({ name }) => name)
  const accepted = servers.flatMap(({ tools }) => tools.filter(({ state }) => state === 'accepted')).length
  return {
    name: 'mcp',
    state: silent.length + quarantined.length === 0 ? 'ok' : 'warn',
    says:
      `tools accepted: ${count(accepted)}, in quarantine: ${count(quarantined.length)}` +
      (silent.length === 0 ? '' : `; no answer from ${silent.join(', ')}`),
    ...(silent.length + quarantined.length === 0 ? {} : { next: 'convoke mcp ls' }),
  }
}

async function configuration(context: Context, checks: Finding[]): Promise<Config | undefined> {
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
    if (config.mcp !== undefined) checks.push(mcp(config.mcp))
    return config
  } catch (error) {
    checks.push(bad('config', error))
    return undefined
  }
}

async function store(context: Context, config: Config | undefined, dir: string, checks: Finding[]): Promise<void> {
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

/** A store at an address is looked at by the package that keeps it. */
async function database(
  context: Context,
  config: Config | undefined,
  place: Extract<Place, { kind: 'address' }>,
  checks: Finding[],
): Promise<void> {
  try {
    const module = await storeModule(place.address)
    const found = (await module.inspectStore?.(place.address)) ?? []
    checks.push(...found)
    // A store that is not there yet, or lacks steps, is opened by nobody who only looks.
    if (found.some((one) => one.state === 'bad' || one.code === 'STORE_OUTDATED')) return
    const ledger = await openLedgerAt(place)
    try {
      await runs(ledger, tenantOf(context, config), undefined, checks)
    } finally {
      await ledger.close()
    }
  } catch (error) {
    checks.push(bad('store', error))
  }
}

/** `local` needs nothing; `postgres` alone is the store's own database, which was looked at. */
async function engine(said: string | undefined, place: Place, checks: Finding[]): Promise<void> {
  if (said === undefined || said === 'local') return
  try {
    const module = await engineModule(said)
    const address = schemeOf(said) === undefined ? (place.kind === 'address' ? place.address : undefined) : said
    if (address === undefined)
      throw new ConvokeError('ENGINE_UNKNOWN', `engine ${said} needs to know which database`, {
        next: `use it with --store ${said}://…`,
      })
    checks.push(...((await module.inspectEngine?.(address)) ?? []))
  } catch (error) {
    checks.push(bad('engine', error))
  }
}

const stuckMs = 60_000

/** `workers`: how many are alive, where that is known. */
async function runs(ledger: Ledger, tenant: string, workers: number | undefined, checks: Finding[]): Promise<void> {
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

function durability(config: Config | undefined): Finding {
  return config?.options.durability === 'process-crash-only'
    ? {
        name: 'sync',
        state: 'warn',
        says: 'process-crash-only: power loss may take the last commits',
        next: "leave durability out of the configuration for 'full'",
      }
    : { name: 'sync', state: 'ok', says: 'full: what was acknowledged survives power loss' }
}
