import { ConvokeError, forkRun, parseStrict, systemIds, type Json } from 'convoke'
import { showRun, type ShownStep } from 'convoke/views'
import { clock, findRun, osUser, withStore, type Context } from '../context.ts'
import { exit } from '../exit.ts'

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
      const { ledger, tenant, redact } = opened
      const run = await findRun(opened, said)
      const shown = await showRun(ledger, tenant, run, clock.now())
      const corrections = set.map((change) => ({ ...change, pointer: inOutcome(shown.steps, change) }))
      const id = await forkRun({ ledger, clock, ids: systemIds(), redact, digestOf: () => undefined }, tenant, run, {
        at: /^\d+$/.test(flags.at) ? Number(flags.at) : flags.at,
        set: corrections,
        use,
        reuse: flags.reuse,
        effects: flags.effects,
        by: { kind: 'person', id: flags.by ?? osUser(context.env) },
        ...(flags.id === undefined ? {} : { id: flags.id }),
      })
      const made = await showRun(ledger, tenant, id, clock.now())
      const at = made.fork?.at ?? 0
      const again = flat(shown.steps)
        .filter((s) => s.ref !== undefined && seqOf(s.ref, run) > at && s.op !== 'checkpoint')
        .map((s) => s.path)
      const next = `convoke resume ${id}`
      out.data({ run: id, of: run, at, reuse: flags.reuse, effects: flags.effects, again, next }, () => id)
      const { errStyle: style } = out
      out.note(`shares ${run} up to record ${at}`)
      if (again.length === 0) out.note('nothing of the original comes after it')
      else
        out.note(
          `${flags.reuse === 'unchanged' ? 'executed again where something changed' : 'executed again'}: ${again.slice(0, 20).join(', ')}${again.length > 20 ? `, and ${again.length - 20} more` : ''}`,
        )
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
    { writes: true },
  )
}

/** People point into what a step gave; an ask's record holds that as its outcome's value. */
function inOutcome(steps: readonly ShownStep[], change: { readonly step: string; readonly pointer: string }): string {
  const step = flat(steps).find((s) => s.path === change.step)
  return step?.op === 'ask' ? `/value${change.pointer}` : change.pointer
}

/** Steps of the run itself; what happens inside an ask or a verification is executed with it. */
function flat(steps: readonly ShownStep[]): ShownStep[] {
  return steps.flatMap((s) =>
    s.op === 'scope' ? flat(s.children) : s.op === 'ask' || s.op === 'verify' ? [s] : [s, ...flat(s.children)],
  )
}

/** A step that an ancestor made stands before every record of the run itself. */
function seqOf(ref: string, run: string): number {
  return ref.startsWith(`run/${run}@`) ? Number(ref.slice(ref.lastIndexOf('@') + 1)) : 0
}
