import fc from 'fast-check'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { role } from '../contracts/role.ts'
import type { Json } from '../core/json.ts'
import { dryRun, type House, type PolicyCase } from '../gateway/dry-run.ts'
import { tool } from '../gateway/tool.ts'
import { decide, type PolicyCall } from './decide.ts'
import { policy, policyDigest, type PolicyRule } from './policy.ts'

const call = (input: Json, more: Partial<PolicyCall> = {}): PolicyCall => ({
  tool: 'erp.pay',
  effect: 'keyed',
  categories: ['financial-commitment'],
  input,
  labels: { integrity: 'trusted', confidentiality: [], sources: ['input'] },
  role: 'clerk',
  environment: 'production',
  asked: undefined,
  ...more,
})
const big: PolicyRule = {
  id: 'big',
  category: 'financial-commitment',
  when: [{ at: '/amount', min: '500.01' }],
  hold: { category: 'payment', group: 'treasury' },
}

test('an amount that cannot be judged is held, and what would allow it says nothing', () => {
  const p = policy({
    version: '1',
    otherwise: 'deny',
    rules: [big, { id: 'small', tool: 'erp.*', when: [{ at: '/amount', max: 500 }], allow: true }],
  })
  expect(decide(p, call({ amount: '500.00' })).outcome).toBe('allow')
  expect(decide(p, call({ amount: '500.01' })).outcome).toBe('hold')
  for (const odd of ['5e9', 'much', null, [600], {}])
    expect(decide(p, call({ amount: odd as Json })).outcome).toBe('hold')
  expect(decide(p, call({})).outcome).toBe('hold')
})

test('conditions: tool, category, role, effect, environment, labels; all of them hold', () => {
  const speaks = (rule: PolicyRule, its: Partial<PolicyCall> = {}): boolean =>
    decide(policy({ version: '1', rules: [rule] }), call({}, its)).outcome === 'deny'
  const deny = 'no'
  expect(speaks({ tool: ['mail.*', 'erp.*'], deny })).toBe(true)
  expect(speaks({ tool: 'erp.*', role: 'boss', deny })).toBe(false)
  expect(speaks({ role: 'cl*', effect: ['keyed', 'unsafe'], environment: 'production', deny })).toBe(true)
  expect(speaks({ environment: 'test', deny })).toBe(false)
  expect(speaks({ category: 'other', deny })).toBe(false)
  expect(speaks({ category: 'other', deny }, { asked: 'other' })).toBe(true)
  const seen = { integrity: 'untrusted' as const, confidentiality: ['hr'], sources: ['tool:mail.read'] }
  expect(
    speaks(
      { labels: { integrity: 'untrusted', confidentiality: ['hr', 'x'], sources: ['tool:mail.*'] }, deny },
      { labels: seen },
    ),
  ).toBe(true)
  expect(speaks({ labels: { confidentiality: ['x'] }, deny }, { labels: seen })).toBe(false)
  expect(speaks({ labels: { integrity: 'untrusted' }, deny })).toBe(false)
})

const strictness = ['allow', 'tell', 'delay', 'hold', 'deny']
const anyRule: fc.Arbitrary<PolicyRule> = fc
  .record({
    tool: fc.constantFrom('erp.*', 'erp.pay', 'mail.*', '*'),
    role: fc.option(fc.constantFrom('clerk', 'boss'), { nil: undefined }),
    outcome: fc.constantFrom<Partial<PolicyRule>>(
      { allow: true },
      { tell: { group: 'g' } },
      { delay: { category: 'd', ms: 5 } },
      { hold: { category: 'h' } },
      { deny: 'no' },
    ),
  })
  .map(({ tool: name, role: its, outcome }) => ({
    tool: name,
    ...(its === undefined ? {} : { role: its }),
    ...outcome,
  }))

test('one more rule makes nothing possible that was not', () => {
  fc.assert(
    fc.property(
      fc.array(anyRule, { maxLength: 4 }),
      anyRule,
      fc.constantFrom('erp.pay', 'mail.send'),
      (rules, more, name) => {
        const its = call({}, { tool: name })
        const before = decide(policy({ version: '1', rules }), its).outcome
        const after = decide(policy({ version: '1', rules: [...rules, more] }), its).outcome
        expect(strictness.indexOf(after)).toBeGreaterThanOrEqual(strictness.indexOf(before))
      },
    ),
    { seed: 4, numRuns: 1_000 },
  )
})

test('all holds add up; the rules that spoke are named, the strictest first', () => {
  const p = policy({
    version: '2',
    rules: [big, { tool: 'erp.*', tell: { group: 'audit' } }, { tool: 'erp.pay', hold: { category: 'second' } }],
    categories: { payment: { expiresMs: 9 } },
  })
  const decided = decide(p, call({ amount: 600 }))
  expect(decided.holds).toMatchObject([
    { category: 'payment', group: 'treasury', expiresMs: 9 },
    { category: 'second' },
  ])
  expect(decided.rules).toEqual(['policy 2, rule big', 'policy 2, rule 3 (erp.pay)', 'policy 2, rule 2 (erp.*)'])
})

test('a digest follows every word, and the code of a predicate', () => {
  const of = (rules: readonly PolicyRule[]): string => policyDigest(policy({ version: '1', rules }))
  expect(of([big])).toBe(of([{ ...big }]))
  expect(of([big])).not.toBe(of([{ ...big, when: [{ at: '/amount', min: '500.02' }] }]))
  expect(of([{ tool: 'a', when: () => true, deny: 'x' }])).not.toBe(of([{ tool: 'a', when: () => false, deny: 'x' }]))
})

test('DEFINITION_INVALID: a rule without an outcome or with two, about nothing, or with a wrong number', () => {
  const bad: PolicyRule[][] = [
    [{ tool: 'a' }],
    [{ tool: 'a', allow: true, deny: 'x' }],
    [{ deny: 'x' }],
    [{ tool: 'a', hold: { category: 'c', quorum: 0 } }],
    [{ tool: 'a', delay: { category: 'c', ms: 0 } }],
    [{ tool: 'a', when: [{ at: 'x', max: 1 }], deny: 'x' }],
    [
      { id: 'x', tool: 'a', deny: 'x' },
      { id: 'x', tool: 'b', deny: 'x' },
    ],
  ]
  for (const rules of bad)
    expect(() => policy({ version: '1', rules })).toThrow(
      expect.objectContaining({ code: 'DEFINITION_INVALID' }) as Error,
    )
})

test('a dry run says what would happen and why, from schema to policy, and what each rule made of it', async () => {
  const pay = tool({
    name: 'erp.pay',
    description: 'pays',
    inputSchema: z.object({ amount: z.string() }),
    effect: 'keyed',
    categories: ['financial-commitment'],
    accepts: { integrity: 'trusted' },
    execute: () => null,
  })
  const clerk = role({
    name: 'clerk',
    input: z.object({}),
    output: z.object({}),
    grants: [{ tool: 'erp.*', args: [{ at: '/amount', max: 1000 }] }],
  })
  const house: House = { tools: [pay], roles: [clerk], policy: policy({ version: '1', rules: [big] }) }
  const ask = async (its: Partial<PolicyCase>): Promise<string> => {
    const { outcome, why } = await dryRun(house, { tool: 'erp.pay', input: { amount: '5' }, ...its })
    return `${outcome}: ${String(why[0])}`
  }
  expect(await ask({})).toBe('allow: no rule speaks about it')
  expect(await ask({ input: { amount: '600' } })).toBe('hold: policy 1, rule big')
  expect(await ask({ input: {} })).toContain('deny: the arguments do not fit')
  expect(await ask({ role: 'clerk', input: { amount: '1001' } })).toBe(
    'deny: role:clerk, grant 1: /amount is more than 1000',
  )
  expect(await ask({ labels: { integrity: 'untrusted' } })).toContain('hold: flow rule integrity')
  const { rules, ok } = await dryRun(house, { tool: 'erp.pay', input: { amount: '5' }, expect: 'hold' })
  expect([rules, ok]).toEqual([[{ rule: 'rule big', match: 'no', why: '/amount is less than 500.01' }], false])
  await expect(dryRun(house, { tool: 'x', input: null })).rejects.toMatchObject({ code: 'TOOL_UNKNOWN' })
})
