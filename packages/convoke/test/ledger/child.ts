import { statSync, writeSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { isConvokeError } from '../../src/core/errors.ts'
import type { Where } from '../../src/ledger-sqlite/client.ts'
import { openLedger, type CrashAt } from '../../src/ledger-sqlite/index.ts'
import { createChain } from '../../src/testing/chain.ts'

// A process of its own that works on a store; the tests kill, stop and race it. It says what it did in JSON lines,
// written at once, so that what was said before a SIGKILL is never lost.

export interface Task {
  readonly dir: string
  readonly task: 'append' | 'own' | 'mix' | 'linger' | 'watch'
  readonly id: string
  readonly count?: number
  readonly leaseMs?: number
  readonly crashAt?: CrashAt
  readonly where?: Where
}

const task = JSON.parse(process.argv[2] ?? '{}') as Task
const { dir, id, count = 10 } = task

function say(line: object): void {
  writeSync(1, JSON.stringify(line) + '\n')
}

async function codeOf(act: Promise<unknown>): Promise<string> {
  try {
    await act
    return 'ok'
  } catch (error) {
    return isConvokeError(error) ? error.code : String(error)
  }
}

const ledger = await openLedger(
  {
    dir,
    ...(task.leaseMs === undefined ? {} : { leaseMs: task.leaseMs }),
    ...(task.crashAt === undefined ? {} : { crashAt: task.crashAt }),
  },
  task.where,
)
const chain = createChain({ tenant: 'acme', stream: `run/${id}` })

async function start(): Promise<void> {
  const record = chain.next({ type: 'run.started', payload: { workflow: 'w', version: '1' } })
  await ledger.append([{ ref: chain.ref, epoch: 0, records: [record] }])
}

async function step(epoch: number, n: number): Promise<string> {
  const record = chain.next({ type: 'step.completed', path: `s${n}`, payload: { n, text: 'x'.repeat(300) } })
  return await codeOf(ledger.append([{ ref: chain.ref, epoch, records: [record] }]))
}

/** One durable append after the other; each acknowledgement is said with the size of the WAL behind it. */
async function append(): Promise<void> {
  await start()
  await ledger.register(`w-${id}`)
  const claim = await ledger.claim(chain.ref, `w-${id}`)
  chain.follow(claim)
  for (let n = 0; n < count; n++) {
    const code = await step(claim.epoch, n)
    say({ acked: code === 'ok' ? chain.head.seq : 0, hash: chain.head.hash, wal: walSize() })
  }
  await ledger.close()
}

function walSize(): number {
  return statSync(`${dir}/ledger.db-wal`, { throwIfNoEntry: false })?.size ?? 0
}

/** Claims a run and then does what it is told on stdin. */
async function own(): Promise<void> {
  let incarnation = 1
  let lease = await ledger.register(`w-${id}-1`)
  await start()
  let claim = await ledger.claim(chain.ref, lease.worker)
  chain.follow(claim)
  say({ claimed: claim.epoch })
  for await (const line of createInterface({ input: process.stdin })) {
    if (line === 'append') say({ append: await step(claim.epoch, 0) })
    // What may take long is done by the ledger's thread, which has renewed the lease by then.
    if (line === 'settle') say({ settled: (await ledger.heads(chain.ref.tenant)).length })
    if (line === 'remaining') say({ remaining: lease.remaining() })
    if (line === 'claim') say({ claim: await codeOf(ledger.claim(chain.ref, lease.worker)) })
    if (line === 'again') {
      lease = await ledger.register(`w-${id}-${++incarnation}`)
      claim = await ledger.claim(chain.ref, lease.worker)
      chain.follow(claim)
      say({ claimed: claim.epoch })
    }
    if (line === 'end') break
  }
  await ledger.close()
  say({ closed: true })
  process.stdin.destroy()
}

/** Everything at once, against others that do the same. */
async function mix(): Promise<void> {
  await ledger.register(`w-${id}`)
  await start()
  const claim = await ledger.claim(chain.ref, `w-${id}`)
  chain.follow(claim)
  const codes: Record<string, number> = {}
  const note = (code: string): void => {
    codes[code] = (codes[code] ?? 0) + 1
  }
  for (let n = 0; n < count; n++) {
    const message = { type: 'signal', at: n, actor: { kind: 'system', id }, payload: n } as const
    const posts = [
      codeOf(ledger.post({ tenant: 'acme', stream: 'inbox/shared' }, { ...message, id: `${id}-${n}` })),
      codeOf(ledger.post({ tenant: 'acme', stream: 'inbox/shared' }, { ...message, id: `both-${n}` })),
    ]
    const guard = { kind: 'counter', tenant: 'acme', counter: 'c', key: `${id}-${n}`, add: 1, max: count } as const
    const counted = codeOf(ledger.append([], { guards: [guard] }))
    for (const code of await Promise.all([step(claim.epoch, n), ...posts])) note(code)
    note(`counter ${await counted}`)
  }
  say({ codes })
  await ledger.close()
}

if (task.task === 'append') await append()
if (task.task === 'own') await own()
if (task.task === 'mix') await mix()
// Ends by itself, although nothing closes the ledger.
if (task.task === 'linger') {
  await start()
  ledger.onChange(() => say({ changed: true }))
  say({ started: true })
}
if (task.task === 'watch') {
  say({ started: true })
  for await (const { record } of ledger.watch('acme')) say({ seen: `${record.stream}@${record.seq}` })
}
