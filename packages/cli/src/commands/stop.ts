import { ConvokeError, liftHalt, orderHalt, standingHalts, systemIds, type HaltTarget, type Json } from 'convoke'
import { clock, findRun, osUser, withStore, type Context, type Opened } from '../context.ts'
import { exit } from '../exit.ts'

/** `convoke stop`: a run, a role or everything, at once and in every process; and how it is taken back. */
export interface StopOptions {
  readonly role?: string
  readonly all?: boolean
  readonly lift?: string
  readonly list?: boolean
  readonly reason?: string
  readonly by?: string
}

export async function stopCommand(context: Context, run: string | undefined, o: StopOptions): Promise<number> {
  const { out } = context
  return withStore(context, async (opened) => {
    const { ledger, tenant } = opened
    if (o.list) {
      const halts = await standingHalts(ledger, tenant)
      out.data({ halts: halts as unknown as Json }, () =>
        halts.length === 0
          ? 'nothing is stopped'
          : halts.map((h) => `${h.id}  ${said(h.target)}  by ${h.by}  ${h.reason ?? ''}`.trimEnd()).join('\n'),
      )
      return exit.ok
    }
    const order = {
      tenant,
      by: { kind: 'person' as const, id: o.by ?? osUser(context.env) },
      at: clock.now(),
      salt: systemIds(clock).salt(),
      ...(o.reason === undefined ? {} : { reason: o.reason }),
    }
    const { lift } = o
    if (lift !== undefined) {
      const { woken } = await liftHalt(ledger, { ...order, id: lift })
      out.data({ lifted: lift, woken }, () => `lifted ${lift}; ${woken.length} runs go on`)
      return exit.ok
    }
    const halt = await orderHalt(ledger, { ...order, target: await targetOf(opened, run, o) })
    out.data(
      { halt: halt as unknown as Json },
      () => `stopped ${said(halt.target)}; to take it back: convoke stop --lift ${halt.id}`,
    )
    return exit.ok
  })
}

async function targetOf(opened: Opened, run: string | undefined, { role, all }: StopOptions): Promise<HaltTarget> {
  if ([run, role, all].filter((it) => it !== undefined).length !== 1)
    throw new ConvokeError('USAGE', 'say what is to be stopped: one run, --role, or --all', {
      next: 'convoke stop --help',
    })
  if (run !== undefined) return { run: await findRun(opened, run) }
  return role === undefined ? { all: true } : { role }
}

function said(target: HaltTarget): string {
  return 'all' in target ? 'everything' : 'role' in target ? `role ${target.role}` : `run ${target.run}`
}
