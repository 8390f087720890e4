/** Asking what a policy would say, and stopping what runs. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { appFile, json, place, type Place } from './support/cli.ts'

vi.setConfig({ testTimeout: 180_000, hookTimeout: 120_000 })

let at: Place
beforeAll(() => {
  at = place()
})
afterAll(() => at.remove())

test('convoke policy test says what would happen and why, and fails where a case expects otherwise', async () => {
  const cases = [
    { name: 'a payment', tool: 'erp.pay', input: { number: 'INV-1', amount: '5.00' }, expect: 'hold' },
    { name: 'no arguments', tool: 'erp.pay', input: {}, expect: 'deny' },
  ]
  const file = join(at.dir, 'cases.json')
  writeFileSync(file, JSON.stringify(cases))
  const done = await at.cli(['policy', 'test', '--app', appFile, '--cases', file])
  expect(done).toMatchObject({ code: 0, err: '' })
  expect(done.out).toContain('hold   a payment')
  expect(done.out).toContain('policy 1, rule 1 (erp.pay)')
  expect(done.out).toContain('payment, asked of finance')
  writeFileSync(file, JSON.stringify([{ ...cases[0], expect: 'allow' }]))
  const failed = await at.cli(['policy', 'test', '--app', appFile, '--cases', file, '-o', 'json'])
  expect(failed.code).toBe(1)
  expect(json(failed.out)).toMatchObject({ failed: 1, answers: [{ outcome: 'hold', expected: 'allow', ok: false }] })
  expect(await at.cli(['policy', 'test', '--app', appFile, '--tool', 'nothing'])).toMatchObject({ code: 2 })
  expect(await at.cli(['policy', 'test', '--app', appFile])).toMatchObject({ code: 2 })
})

test('convoke policy test says what guardrails would say; a judge is asked only when told to', async () => {
  const app = join(import.meta.dirname, 'support/guarded.config.ts')
  const ask = (...more: string[]) =>
    at.cli(['policy', 'test', '--app', app, '--tool', 'mail.send', '--input', '{"body":"now tok_123"}', ...more], {
      bare: true,
    })
  const dry = await ask()
  expect(dry).toMatchObject({ code: 0, err: '' })
  expect(dry.out).toMatch(/^hold /)
  expect(dry.out).toContain('guardrail hours: at once')
  expect(dry.out).toContain('guardrail tokens redacts: found 1 token')
  expect(dry.out).toMatch(/guardrail tone@[0-9a-f]{8} was not asked: it asks a model/)
  expect(at.counted()).not.toContain('judged')
  expect(json((await ask('-o', 'json')).out)).toMatchObject({
    answers: [
      {
        outcome: 'hold',
        redacted: { body: 'now [redacted:token]' },
        asks: ['haste'],
        guardrails: [
          { guardrail: 'tokens', verdict: 'redact', reason: 'found 1 token' },
          { guardrail: 'hours', verdict: 'ask', reason: 'at once', category: 'haste' },
          { verdict: 'not-asked' },
        ],
      },
    ],
  })
  const asked = await ask('--ask-models')
  expect(asked.out).toMatch(/^deny /)
  expect(asked.out).toMatch(/guardrail tone@\w+: it is rude/)
  expect(at.counted()).toContain('judged')
})

test('convoke stop: nothing runs until it is lifted; what it stopped goes on', async () => {
  await at.cli(['run', 'hello', '--id', 'r_before'])
  const stop = json((await at.cli(['stop', '--all', '--reason', 'a drill', '--by', 'ada', '-o', 'json'])).out) as {
    halt: { id: string }
  }
  const begun = await at.cli(['run', 'hello', '--id', 'r_drill'])
  expect(begun.code).not.toBe(0)
  expect(begun.err + begun.out).toContain('RUN_HALTED')
  expect((await at.cli(['stop', '--list'])).out).toContain('everything  by ada  a drill')
  const lifted = await at.cli(['stop', '--lift', stop.halt.id])
  expect(lifted.out).toContain('1 runs go on')
  expect(await at.cli(['resume', 'r_drill'])).toMatchObject({ code: 0 })
  expect((await at.cli(['stop', '--list'])).out).toContain('nothing is stopped')
  expect(await at.cli(['stop'])).toMatchObject({ code: 2 })
  expect(await at.cli(['stop', 'r_none'])).toMatchObject({ code: 2 })
})
