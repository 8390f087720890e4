import { ConvokeError, forkRun, outputsOf, parseStrict, systemIds, type Json } from 'convoke'
import { planOfFork, showRun } from 'convoke/views'
import type { Config } from '../config.ts'
import { clock, findRun, osUser, withStore, type Context } from '../context.ts'
import { exit } from '../exit.ts'
import type { Output } from '../output.ts'

export interface ForkFlags {
  readonly at: string
  readonly set?: readonly string[]
  readonly use?: readonly string[]
  readonly reuse: 'before' | 'unchanged'
  readonly effects: 'hold' | 'dry' | 'live'
  readonly id?: string
  readonly by?: string
}

/** `STEP:/pointer=JSON`; the step's path may hold colons, the pointer begins at the last `:/` before the first `=`. */
export function parseSet(text: string): { readonly step: string; readonly pointer: string; readonly value: Json } {
  const cut = text.indexOf('=')
  const place = cut < 0 ? text : text.slice(0, cut)
  const colon = place.endsWith(':') ? place.length - 1 : place.lastIndexOf(':/')
  if (cut < 0 || colon < 1)
    throw new ConvokeError('USAGE', `${JSON.stringify(text)} is not STEP:/pointer=JSON`, {
      next: `for example --set 'intake:/total="1420.00"'`,
    })
  return { step: place.slice(0, colon), pointer: place.slice(colon + 1), value: parseStrict(text.slice(cut + 1)) }
}

function parseUse(list: readonly string[]): Record<string, string> {
  const entries = list.map((text) => {
    const [role, version, ...more] = text.split('=')
    if (role === undefined || role === '' || version === undefined || version === '' || more.length > 0)
      throw new ConvokeError('USAGE', `${JSON.stringify(text)} is not ROLE=VERSION`, {
        next: 'for example --use intake=2',
      })
    return [role, version] as const
  })
  return Object.fromEntries(entries)
}

/** `convoke fork`: makes a run that shares another's records up to a point. It is driven by resume or a worker. */
export async function forkCommand(context: Context, said: string, flags: ForkFlags): Promise<number> {
  const { out } = context
  const use = parseUse(flags.use ?? [])
  const set = (flags.set ?? []).map(parseSet)
  return withStore(
    context,
    async (opened) => {
      const { ledger, tenant, redact, config } = opened
      const run = await findRun(opened, said)
      fillable(use, config)
      const outputOf = config === undefined ? undefined : outputsOf(config.options)
      const deps = { ledger, clock, ids: systemIds(), redact, digestOf: () => undefined, outputOf }
      const id = await forkRun(deps, tenant, run, {
        at: /^\d+$/.test(flags.at) ? Number(flags.at) : flags.at,
        set,
        use,
        reuse: flags.reuse,
        effects: flags.effects,
        by: { kind: 'person', id: flags.by ?? osUser(context.env) },
        ...(flags.id === undefined ? {} : { id: flags.id }),
      })
      const at = (await showRun(ledger, tenant, id, clock.now())).fork?.at ?? 0
      const plan = await planOfFork(ledger, tenant, id)
      const next = `convoke resume ${id}`
      out.data({ run: id, of: run, at, reuse: flags.reuse, effects: flags.effects, ...plan, next }, () => id)
      const { errStyle: style } = out
      out.note(`shares ${run} up to record ${at}`)
      if (set.length > 0 && config === undefined)
        out.note(`${style.warn('not checked')}: no configuration here says which schema a corrected value must fit`)
      if (Object.values(plan).every((paths) => paths.length === 0)) out.note('nothing of the original comes after it')
      listed(out, 'executed again', plan.again)
      listed(out, 'kept if nothing changed for it, else executed again', plan.compared)
      out.note(
        {
          hold: 'effects that the original already made wait for a person',
          dry: 'effects are simulated',
          live: style.warn('effects are performed, also those that the original already made'),
        }[flags.effects],
      )
      out.note(style.faint(`next: ${next}`))
      return exit.ok
    },
    { writes: true, schemas: set.length > 0 || Object.keys(use).length > 0 },
  )
}

/** A role that nobody fills, or an agent that is not there, would show only once it is asked, or never. */
function fillable(use: Readonly<Record<string, string>>, config: Config | undefined): void {
  const all = config?.options.agents
  if (all === undefined) return
  for (const [role, named] of Object.entries(use)) {
    const agents = all.filter((agent) => agent.role.name === role)
    if (agents.some(({ name, version }) => [name, version, `${name}@${version}`].includes(named))) continue
    const there = agents.map(({ name, version }) => `${name}@${version}`)
    const known = there.length > 0 ? there : [...new Set(all.map((agent) => agent.role.name))]
    throw new ConvokeError(
      'ROLE_UNFILLED',
      there.length > 0 ? `no agent ${named} fills role ${role}` : `no agent fills a role ${role}`,
      { details: { role, agents: there, agent: named }, next: `use one of: ${known.join(', ')}` },
    )
  }
}

const maxListed = 20

/** Paths in a line, for people. */
export function listed(out: Output, what: string, paths: readonly string[]): void {
  if (paths.length === 0) return
  const more = paths.length > maxListed ? `, and ${paths.length - maxListed} more` : ''
  out.note(`${what}: ${paths.slice(0, maxListed).join(', ')}${more}`)
}
