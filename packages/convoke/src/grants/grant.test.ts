import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Json } from '../core/json.ts'
import { assertGrants, reaches, refusal, type Grant, type GrantedCall, type GrantSet } from './grant.ts'

const call: GrantedCall = {
  tool: 'mail.send',
  effect: 'unsafe',
  input: { to: ['a@acme.test'], bcc: [] },
  tenant: 'acme',
  run: 'r1',
  role: 'clerk',
  at: 1_000,
}
const set = (...grants: Grant[]): GrantSet => ({ from: 'role:clerk', grants })
const own: Grant = {
  tool: 'mail.send',
  args: ['/to/*', '/cc/*', '/bcc/*'].map((at) => ({ at, domains: ['acme.test'] })),
}
const asked = (grants: Grant[], its: Partial<GrantedCall> = {}): string | undefined =>
  refusal([set(...grants)], { ...call, ...its }, undefined)?.why

test('mail to the house only: every recipient, also blind copies, in whatever form', () => {
  const to = (input: Json): string | undefined => asked([own], { input })
  expect(to({ to: ['a@acme.test', 'B@ACME.test'] })).toBeUndefined()
  expect(to({ to: ['a@acme.test'], bcc: ['x@evil.test'] })).toContain('no address at acme.test')
  for (const bad of [
    'a@acme.test,x@evil.test',
    'Ada <a@acme.test>',
    'a@acme.test@evil.test',
    'a@evil.test ',
    'a@acme.test.evil.test',
    'a@аcme.test',
    '',
  ])
    expect(`${bad}: ${to({ to: [bad] }) === undefined}`).toBe(`${bad}: false`)
  expect(to({ to: ['a@acme.test'], bcc: 'x@evil.test' })).toBe('is no list')
})

test('amounts, effect classes, expiry, tenant, run and role', () => {
  const pay: Grant = { tool: 'erp.*', args: [{ at: '/amount', max: 500 }], expires: 2_000 }
  const of = (amount: Json): Partial<GrantedCall> => ({ tool: 'erp.pay', input: { amount } })
  expect(asked([pay], of('500.00'))).toBeUndefined()
  expect(asked([pay], of('500.01'))).toBe('is more than 500')
  for (const odd of ['1e9', 'NaN', null, [1], true]) expect(asked([pay], of(odd))).toBeDefined()
  expect(asked([pay], { ...of(1), at: 2_001 })).toContain('expired')
  expect(asked([{ tool: 'erp.*', effects: ['read'] }], of(1))).toContain('its effect is unsafe')
  expect(asked([{ tool: '*', tenant: 'other' }])).toContain('tenant')
  expect(asked([{ tool: '*', run: 'other' }])).toContain('run')
  expect(asked([{ tool: '*', role: 'other' }])).toContain('role')
  expect(asked([])).toBe('nothing grants mail.send')
})

test('what may only be passed on is not used by whoever has it', () => {
  const passed = set({ tool: 'mail.*', passOn: 'only' })
  expect(refusal([passed], call, passed)?.why).toBe('it may only be passed on')
  expect(refusal([passed], call, undefined)).toBeUndefined()
  expect(reaches(passed.grants, { name: 'mail.send', effect: 'unsafe' })).toBe(false)
})

test('delegation never widens: with one more set, nothing is allowed that was not', () => {
  const tools = ['a', 'a.b', 'c']
  const grant = fc.record({
    tool: fc.constantFrom('*', 'a*', ...tools),
    args: fc.array(fc.record({ at: fc.constant('/n'), max: fc.integer({ min: 0, max: 9 }) }), { maxLength: 2 }),
  })
  const sets = fc.array(fc.record({ from: fc.constant('x'), grants: fc.array(grant, { maxLength: 3 }) }), {
    maxLength: 3,
  })
  fc.assert(
    fc.property(
      sets,
      fc.array(grant, { maxLength: 3 }),
      fc.constantFrom(...tools),
      fc.integer({ min: 0, max: 9 }),
      (before, more, tool, n) => {
        const its = { ...call, tool, input: { n } }
        const allowed = refusal(before, its, undefined) === undefined
        const after = refusal([...before, { from: 'y', grants: more }], its, undefined) === undefined
        expect(allowed || !after).toBe(true)
      },
    ),
    { seed: 4, numRuns: 2_000 },
  )
})

test('DEFINITION_INVALID for a grant without a tool or with a constraint that says nothing', () => {
  for (const bad of [
    { tool: '' },
    { tool: 'a', args: [{ at: '/x' }] },
    { tool: 'a', args: [{ at: 'x', max: 1 }] },
    { tool: 'a', args: [{ at: '/x', matches: '(' }] },
  ])
    expect(() => assertGrants([bad], 'test')).toThrow(expect.objectContaining({ code: 'DEFINITION_INVALID' }) as Error)
})
