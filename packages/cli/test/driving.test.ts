/** Runs driven by real processes on a real store: parking, deciding from another process, Ctrl-C, resuming. */
import { symlinkSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { openSqliteLedger } from 'convoke/sqlite'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { json, place, type Place } from './support/cli.ts'

// Each test starts several processes, on a machine that may be busy.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 60_000 })

let at: Place
beforeEach(() => {
  at = place()
})
afterEach(() => at.remove())

const invoice = ['--input', '{"number": "INV-1", "amount": "100.00"}']

async function approvalOf(run: string): Promise<string> {
  const ledger = await openSqliteLedger({ dir: join(at.dir, '.convoke') })
  try {
    return (await ledger.approvals({ tenant: 'local', run, status: 'pending' }))[0]!.id
  } finally {
    await ledger.close()
  }
}

describe('convoke run', () => {
  test('prints its result on stdout and its progress on stderr', async () => {
    const done = await at.cli(['run', 'hello', '--input', '"you"', '--tag', 'a', '--tag', 'b'])
    expect(done).toMatchObject({ code: 0, out: '{\n  "hello": "you"\n}\n' })
    expect(done.err).toMatch(/00:0\d {2}greet +hello: you/)
    const { out } = await at.cli(['runs', '--tag', 'b', '-o', 'jsonl'])
    expect(json(out)).toMatchObject({ workflow: 'hello', status: 'done', tags: ['a', 'b'] })
  })

  test('takes its input from a pipe, and answers in JSON', async () => {
    const done = await at.cli(['run', 'hello', '--input', '-', '--id', 'r_1', '-o', 'jsonl'], { input: '[1, 2]' })
    expect(json(done.out)).toMatchObject({ run: 'r_1', status: 'done', result: { hello: [1, 2] } })
    const again = await at.cli(['run', 'hello', '--input', '[1,2]', '--id', 'r_1'])
    expect(again).toMatchObject({ code: 0, out: done.out === '' ? '' : '{\n  "hello": [\n    1,\n    2\n  ]\n}\n' })
  })

  test('what code logs is shown by the process that drives it', async () => {
    const done = await at.cli(['run', 'counting', '--input', '10'])
    expect(done).toMatchObject({ code: 0, out: '"counted to 10"\n' })
    expect(done.err).toMatch(/run +counted {2}to: 10/)
  })

  test('a child of another run is driven too', async () => {
    expect(await at.cli(['run', 'parent'])).toMatchObject({ code: 0, out: '{\n  "hello": "from above"\n}\n' })
  })

  test('a run that fails: its code, its reason, and 5 for what was unreachable', async () => {
    const done = await at.cli(['run', 'failing', '--id', 'r_f'])
    expect(done).toMatchObject({ code: 5, out: '' })
    expect(done.err).toContain('TOOL_UNREACHABLE  the ERP does not answer')
    expect(done.err).toMatch(/next {5}convoke why --app \S+ r_f/)
  })

  test('a timer that is far away parks: 3, and until when', async () => {
    const done = await at.cli(['run', 'nap', '--id', 'r_nap'])
    expect(done.code).toBe(3)
    expect(done.err).toContain('waits for a time')
    expect(done.err).toMatch(/convoke resume --app \S+ r_nap/)
  })
})

describe('a person', () => {
  test('is waited for (3); an approval from another process is taken up by resume', async () => {
    const parked = await at.cli(['run', 'payment', ...invoice, '--id', 'r_pay'])
    expect(parked).toMatchObject({ code: 3, out: '' })
    const id = await approvalOf('r_pay')
    const listed = json((await at.cli(['approvals', 'ls', '-o', 'json'])).out)
    expect(listed).toMatchObject([{ id, run: 'r_pay', group: 'finance', status: 'pending' }])
    expect(parked.err).toMatch(new RegExp(`next: convoke approvals approve --app \\S+ ${id}`))
    expect(at.counted()).toEqual([])
    const shown = await at.cli(['approvals', 'show', id])
    expect(shown.out).toContain('"amount": "100.00"')

    const approved = await at.cli(['approvals', 'approve', id, '--by', 'anna', '--reason', 'fits'])
    expect(approved).toMatchObject({ code: 0, out: `${id} approved\n` })
    expect(await at.cli(['resume', 'r_pay'])).toMatchObject({ code: 0, out: 'r_pay  done\n' })
    expect(at.counted()).toEqual(['pay INV-1 100.00'])

    const why = await at.cli(['why', 'r_pay'])
    expect(why.out).toMatch(/approved by anna after .*: fits/)
    const second = await at.cli(['approvals', 'approve', id])
    expect(second).toMatchObject({ code: 1, out: '' })
    expect(second.err).toMatch(/APPROVAL_DECIDED {2}.* already approved by anna/)
  })

  test('decides in a second process while the first waits: it goes on by itself', async () => {
    const first = at.start(['run', 'payment', ...invoice, '--id', 'r_pay', '--wait'])
    await first.printed(/approval ap_\w+/)
    const id = await approvalOf('r_pay')
    expect(await at.cli(['approvals', 'approve', id])).toMatchObject({ code: 0 })
    expect(await first.done).toMatchObject({ code: 0, out: '{\n  "paid": "100.00"\n}\n' })
    expect(at.counted()).toEqual(['pay INV-1 100.00'])
  })

  test('corrects: the difference is shown, and the corrected action is done', async () => {
    await at.cli(['run', 'payment', ...invoice, '--id', 'r_pay'])
    const id = await approvalOf('r_pay')
    const change = ['--set', '/amount="90.00"', '--by', 'bert']
    const unsure = await at.cli(['approvals', 'correct', id, ...change])
    expect(unsure.code).toBe(2)
    expect(unsure.err).toContain('/input/amount  "100.00" → "90.00"')
    expect(unsure.err).toMatch(/USAGE.*confirm[^]*--yes/)
    const nothing = await at.cli(['approvals', 'correct', id, '--set', '/amount="100.00"', '--yes'])
    expect(nothing.err).toContain('nothing would change')
    expect(await at.cli(['approvals', 'correct', id, ...change, '--yes'])).toMatchObject({ code: 0 })
    expect(await at.cli(['resume'])).toMatchObject({ code: 0 })
    expect(at.counted()).toEqual(['pay INV-1 90.00'])
  })

  test('rejects: 4, not allowed, and nothing is done', async () => {
    await at.cli(['run', 'payment', ...invoice, '--id', 'r_pay'])
    const id = await approvalOf('r_pay')
    expect(await at.cli(['approvals', 'escalate', id, '--to', 'board'])).toMatchObject({ code: 0 })
    expect((await at.cli(['approvals', 'ls'])).out).toMatch(/ap_\w+ .*board/)
    expect(await at.cli(['approvals', 'reject', id, '--reason', 'no'])).toMatchObject({ code: 0 })
    const done = await at.cli(['resume', 'r_pay'])
    expect(done.code).toBe(4)
    expect(done.err).toContain('APPROVAL_REJECTED')
    expect(at.counted()).toEqual([])
  })
})

describe('INTERRUPTED', () => {
  test('Ctrl-C parks, says how to go on, and nothing is done twice', async () => {
    const running = at.start(['run', 'counting', '--input', '12', '--id', 'r_c'])
    await running.printed(/count#2 /)
    running.child.kill('SIGINT')
    const stopped = await running.done
    expect(stopped).toMatchObject({ code: 130, out: '' })
    expect(stopped.err).toContain('INTERRUPTED  interrupted; nothing is lost')
    expect(stopped.err).toMatch(/convoke resume --app \S+ r_c/)
    const before = at.counted().length
    expect(before).toBeLessThan(12)

    const resumed = await at.cli(['resume', 'r_c', '-o', 'jsonl'])
    expect(resumed.code).toBe(0)
    expect(json(resumed.out)).toMatchObject({ run: 'r_c', status: 'done', result: 'counted to 12' })
    // The step under way at Ctrl-C had no result yet; every other was done once.
    const counts = at.counted()
    expect(new Set(counts).size).toBe(12)
    expect(counts.length).toBeLessThanOrEqual(13)
  })

  test('a second Ctrl-C quits at once', async () => {
    const running = at.start(['run', 'held', '--id', 'r_h'])
    await expect.poll(() => at.counted(), { timeout: 20_000 }).toEqual(['stubborn'])
    running.child.kill('SIGINT')
    await running.printed(/once more to quit at once/)
    running.child.kill('SIGINT')
    const done = await running.done
    expect(done.code).toBe(130)
    expect(done.err).not.toContain('nothing is lost')
    expect(json((await at.cli(['show', 'r_h', '-o', 'json'])).out)).toMatchObject({ row: { run: 'r_h' } })
  })
})

describe('convoke resume', () => {
  test('nothing unfinished: 0', async () => {
    await at.cli(['run', 'hello'])
    const done = await at.cli(['resume'])
    expect(done).toMatchObject({ code: 0, out: '' })
    expect(done.err).toContain('nothing is unfinished')
  })

  test('says of each run how it stands; the worst decides', async () => {
    await at.cli(['run', 'payment', ...invoice, '--id', 'r_a'])
    await at.cli(['run', 'nap', '--id', 'r_b'])
    const done = await at.cli(['resume'])
    expect(done.code).toBe(3)
    expect(done.out).toBe('r_a  parked, waits for a person\nr_b  parked, waits for a time\n')
  })

  test('WORKFLOW_UNKNOWN for a run whose workflow the app lacks; the others go on', async () => {
    await at.cli(['run', 'payment', ...invoice, '--id', 'r_pay'])
    const id = await approvalOf('r_pay')
    await at.cli(['approvals', 'approve', id])
    writeFileSync(join(at.dir, 'less.ts'), `export const config = { workflows: {} }\n`)
    const done = await at.cli(['resume', '--app', 'less.ts'], { bare: true })
    expect(done.code).toBe(1)
    expect(done.err).toContain('WORKFLOW_UNKNOWN')
  })
})

describe('WORKFLOW_CHANGED', () => {
  const app = (first: string): string =>
    `import { defineConfig, workflow } from 'convoke'\n` +
    `const w = workflow({ name: 'w' }, async (run) => {\n` +
    `  await run.step('${first}', () => 1)\n` +
    `  await run.approve('go on')\n` +
    `  return run.step('two', () => 2)\n` +
    `})\n` +
    `export const config = defineConfig({ workflows: { w } })\n`

  test('stops the run with the difference; the build that began it resumes it', async () => {
    symlinkSync(resolve(import.meta.dirname, '../../../node_modules'), join(at.dir, 'node_modules'))
    writeFileSync(join(at.dir, 'old.ts'), app('one'))
    writeFileSync(join(at.dir, 'new.ts'), app('uno'))
    const bare = { bare: true }
    expect(await at.cli(['run', 'w', '--id', 'r_w', '--app', 'old.ts'], bare)).toMatchObject({ code: 3 })
    await at.cli(['approvals', 'approve', await approvalOf('r_w')])
    for (const _ of [1, 2]) {
      const stopped = await at.cli(['resume', 'r_w', '--app', 'new.ts'], bare)
      expect(stopped.code).toBe(1)
      expect(stopped.err).toMatch(/WORKFLOW_CHANGED.*is step one, but the workflow asks for uno/)
      expect(stopped.err).toContain('run the build that began it')
    }
    expect(await at.cli(['resume', 'r_w', '--app', 'old.ts'], bare)).toMatchObject({ code: 0, out: 'r_w  done\n' })
  })
})

describe('convoke worker', () => {
  test('drives what becomes ready until SIGTERM; watch follows it from another process', async () => {
    await at.cli(['run', 'payment', ...invoice, '--id', 'r_pay'])
    const worker = at.start(['worker'])
    await worker.printed(/works on/)
    const watch = at.start(['watch', 'r_pay', '-o', 'jsonl'])
    const doctor = await at.cli(['doctor'])
    expect(doctor).toMatchObject({ code: 0 })
    expect(doctor.out).toMatch(new RegExp(`workers +process ${String(worker.child.pid)}`))
    await at.cli(['approvals', 'approve', await approvalOf('r_pay')])
    const watched = await watch.done
    expect(watched.code).toBe(0)
    const types = watched.out
      .trim()
      .split('\n')
      .map((line) => (json(line) as { type: string }).type)
    expect(types[0]).toBe('run.started')
    expect(types.at(-1)).toBe('run.completed')
    expect(types).toContain('approval.decided')
    worker.child.kill('SIGTERM')
    expect(await worker.done).toMatchObject({ code: 0, out: '' })
    expect(at.counted()).toEqual(['pay INV-1 100.00'])
  })
})
