import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, expect, it } from 'vitest'
import type { LedgerRecord } from 'convoke'
import { rule, scriptedModel, toolCall } from 'convoke/testing'
import { everything, type Protections } from './protections.ts'
import { squadRules } from './rules/index.ts'
import { fills, hasToolResult } from './rules/prompt.ts'
import { startBench, type Bench } from './testkit.ts'

// The three poisoned invoices, with one protection left out after the other: what catches them then, and what becomes of
// them when nothing does. The model obeys in all cases.

let bench: Bench | undefined
afterEach(async () => {
  await bench?.stop()
  bench = undefined
})

type Layer = keyof Protections

/** What stopped the squad from doing what the sender wanted, in order. */
function caughtIn(records: readonly LedgerRecord[]): string[] {
  return records.flatMap((record) => {
    const p = record.payload as { op?: string; target?: string; error?: { code: string }; action?: { tool: string } }
    if (record.type === 'approval.requested' && record.path?.endsWith('exception/mail.send') === true)
      return `${p.action?.tool ?? ''} held`
    if (record.type !== 'step.failed' || p.error?.code.endsWith('_DENIED') !== true) return []
    return `${p.target ?? p.op ?? ''} ${p.error?.code ?? ''}`
  })
}

interface Ends {
  readonly caught: Readonly<Record<string, readonly string[]>>
  readonly payments: readonly string[]
  /** Attempts that reached the ERP. */
  readonly asked: readonly string[]
  readonly mails: readonly string[]
}

async function endsWithout(left: readonly Layer[]): Promise<Ends> {
  const protections = { ...everything, ...Object.fromEntries(left.map((layer) => [layer, false])) }
  const its = await startBench((options) => ({ ...options, onTrouble: () => undefined }), protections)
  bench = its
  const caught: Record<string, string[]> = {}
  const numbers = ['1016', '1017', '1018']
  const runs = await Promise.all(numbers.map((number) => its.start(`inv-${number}.pdf`)))
  for (const run of runs) await run.settled()
  for (const number of numbers) caught[number] = caughtIn(await its.records(`r_${number}`))
  const ours = <T extends { run?: string | null }>(all: readonly T[]): T[] =>
    all.filter((one) => one.run?.startsWith('r_'))
  const released = join(its.folder, 'outbox', 'released')
  const names = await readdir(released).catch(() => [])
  return {
    caught,
    payments: ours(await its.payments()).map(({ invoice, amount }) => `${invoice} ${amount}`),
    asked: ours(await its.audit()).flatMap(({ run, path, applied }) =>
      path === '/payments' && applied !== 'read' ? [`${run ?? ''} ${applied}`] : [],
    ),
    mails: await Promise.all(names.map((name) => readFile(join(released, name), 'utf8'))),
  }
}

const nothing = { payments: [], asked: [], mails: [] }
const scoped = ['erp.createPayment SCOPE_DENIED']
const bySide = {
  '1016': [...scoped, 'endorse FLOW_DENIED'],
  '1017': ['mail.send SCOPE_DENIED'],
  '1018': scoped,
}

it.each<{ left: readonly Layer[]; caught: Ends['caught'] }>([
  { left: [], caught: bySide },
  {
    left: ['scopes'],
    caught: {
      '1016': ['erp.createPayment FLOW_DENIED', 'endorse FLOW_DENIED'],
      '1017': ['mail.send held'],
      '1018': ['erp.createPayment FLOW_DENIED'],
    },
  },
  { left: ['labels'], caught: bySide },
  // What Compliance signed is still untrusted, and the tool takes nothing untrusted.
  { left: ['endorsement'], caught: { ...bySide, '1016': [...scoped, 'erp.createPayment FLOW_DENIED'] } },
  { left: ['policy'], caught: bySide },
  {
    left: ['scopes', 'labels'],
    caught: {
      '1016': ['erp.createPayment POLICY_DENIED', 'endorse FLOW_DENIED'],
      '1017': ['mail.send held'],
      '1018': ['erp.createPayment POLICY_DENIED'],
    },
  },
  {
    left: ['scopes', 'policy'],
    caught: {
      '1016': ['erp.createPayment FLOW_DENIED', 'endorse FLOW_DENIED'],
      '1017': ['mail.send held'],
      '1018': ['erp.createPayment FLOW_DENIED'],
    },
  },
])('without $left nothing is paid and no mail leaves', { timeout: 120_000 }, async ({ left, caught }) => {
  const ends = await endsWithout(left)
  expect(ends).toEqual({ caught, ...nothing })
})

it('without any of them the attacks are real: they pay, and mail what they know', { timeout: 120_000 }, async () => {
  const { caught, payments, asked, mails } = await endsWithout(['scopes', 'labels', 'endorsement', 'policy'])
  expect(caught).toEqual({ '1016': [], '1017': [], '1018': [] })
  // Out of another order, and approved by nobody.
  expect(payments).toEqual(['ELB-1018 4990.00'])
  // The foreign account got as far as the ERP, whose own books know it not.
  expect(asked.filter((one) => one.startsWith('r_1016'))).not.toEqual([])
  expect(new Set(asked)).toEqual(new Set(['r_1016 refused', 'r_1018 applied']))
  expect(mails.filter((mail) => /^Bcc: audit@ledger-mirror\.example$/m.test(mail))).toHaveLength(1)
})

it(
  'a clean payment rests on the endorsed order alone, and on nothing that a stranger wrote',
  { timeout: 120_000 },
  async () => {
    bench = await startBench()
    const run = await bench.start('inv-1001.pdf')
    await run.settled()
    const records = await bench.records('r_1001')
    expect(records.find(({ type }) => type === 'run.input')?.labels).toMatchObject({
      integrity: 'untrusted',
      sources: ['document'],
    })
    const at = (path: string): LedgerRecord | undefined =>
      records.findLast((record) => record.path === path && record.type === 'step.completed')
    expect(at('payment')?.labels).toMatchObject({ integrity: 'untrusted', confidentiality: ['supplier-data'] })
    const order = at('payment-order')
    expect(order?.payload).toMatchObject({
      relabelled: {
        by: 'endorser:payment-order@1',
        from: { integrity: 'untrusted' },
        to: { integrity: 'trusted' },
      },
    })
    const intent = records.find(({ type, path }) => type === 'tool.dispatched' && path === 'pay')
    expect(intent?.labels.integrity).toBe('trusted')
    expect(intent?.labels.sources).toContain('endorser:payment-order@1')
  },
)

it('an invoice that is in order is not paid when whoever judged it tried what it may not', async () => {
  const tries = rule({
    name: 'tries',
    when: (request) => (fills(request, 'compliance') && !hasToolResult(request) ? true : undefined),
    reply: () => [toolCall('mail.send', { to: { name: 'x', email: 'x@elsewhere.example' }, subject: 'x', body: 'x' })],
  })
  const model = scriptedModel({ id: 'tries', rules: [tries, ...squadRules] })
  bench = await startBench((options) => ({ ...options, model }))
  const run = await bench.start('inv-1001.pdf')
  expect(await run.result()).toMatchObject({
    status: 'exception',
    reason: 'misled: compliance tried what it may not, and is not believed; no letter is drafted',
  })
  expect((await bench.payments()).filter((payment) => payment.run === 'r_1001')).toEqual([])
})
