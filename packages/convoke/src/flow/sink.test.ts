import { expect, test } from 'vitest'
import type { Labels } from '../core/labels.ts'
import { isNamed } from './named.ts'
import { assertAccepts, judgeFlow, type Accepts, type FlowCall } from './sink.ts'

const trusted: Labels = { integrity: 'trusted', confidentiality: [], sources: ['input'] }
const untrusted: Labels = { integrity: 'untrusted', confidentiality: [], sources: ['tool:mail.read'] }
const secret: Labels = { ...trusted, confidentiality: ['customer'] }
const both: Labels = { ...untrusted, confidentiality: ['customer'] }

function rules(call: Partial<FlowCall>): string[] {
  const all = { labels: trusted, input: {}, accepts: undefined, external: true, request: [], ...call }
  return judgeFlow(all).broken.map((b) => b.rule)
}

test('the default rule: untrusted input, private data and an external effect, all three', () => {
  expect(rules({ labels: both })).toEqual(['untrusted-private-effect'])
  expect(rules({ labels: untrusted })).toEqual([])
  expect(rules({ labels: secret })).toEqual([])
  expect(rules({ labels: both, external: false })).toEqual([])
})

test('a sink says what it takes', () => {
  const accepts: Accepts = { integrity: 'trusted', confidentiality: ['internal'] }
  expect(rules({ accepts })).toEqual([])
  expect(rules({ accepts, labels: untrusted })).toEqual(['integrity'])
  expect(rules({ accepts, labels: secret })).toEqual(['confidentiality'])
  expect(rules({ accepts, labels: { ...trusted, confidentiality: ['internal'] } })).toEqual([])
  expect(rules({ accepts, labels: both })).toEqual(['integrity', 'confidentiality'])
})

test('untrusted arguments are taken as far as their type bounds them, and only when every one of them is covered', () => {
  const accepts: Accepts = {
    integrity: 'trusted',
    tolerates: [
      { at: '/to/*', in: ['a@acme.test', 'b@acme.test'] },
      { at: '/amount', min: 0, max: 50 },
      { at: '/on', type: 'date' },
      { at: '/subject', named: true },
    ],
  }
  const request = ['Please refund Dora and write "Thank you" as the subject']
  const ask = (input: FlowCall['input']): string[] => rules({ accepts, labels: both, input, request })
  expect(ask({ to: ['a@acme.test'], amount: '49.99', on: '2026-02-28', subject: 'thank you' })).toEqual([])
  expect(ask({ to: ['a@acme.test', 'x@evil.test'], amount: 1, on: '2026-02-28', subject: 'Dora' })).toEqual([
    'integrity',
  ])
  expect(ask({ to: [], amount: 51, on: '2026-02-28', subject: 'Dora' })).toEqual(['integrity'])
  expect(ask({ to: [], amount: 1, on: '2026-02-30', subject: 'Dora' })).toEqual(['integrity'])
  expect(ask({ to: [], amount: 1, on: '2026-02-28', subject: 'pay x@evil.test' })).toEqual(['integrity'])
  expect(ask({ to: [], bcc: 'x@evil.test' })).toEqual(['integrity'])
  expect(ask({ to: { 0: 'a@acme.test', extra: { deep: 'x' } } })).toEqual(['integrity'])
  expect(ask({ to: null, amount: null })).toEqual([])
  const verdict = judgeFlow({ labels: both, accepts, external: true, request, input: { amount: 5 } })
  expect(verdict).toMatchObject({ broken: [], tolerated: ['/amount'], otherwise: 'hold' })
})

test('DEFINITION_INVALID: a tolerance that lets text of anybody through', () => {
  for (const t of [
    { at: '/x', matches: '.*' },
    { at: '/x', maxLength: 5 },
    { at: '/x', max: 5 },
    { at: '/x', domains: ['a.b'] },
  ])
    expect(() => assertAccepts({ tolerates: [t] }, 'pay')).toThrow(
      expect.objectContaining({ code: 'DEFINITION_INVALID' }) as Error,
    )
  expect(() =>
    assertAccepts(
      {
        tolerates: [
          { at: '/x', min: 0, max: 5 },
          { at: '/y', named: true },
        ],
      },
      'pay',
    ),
  ).not.toThrow()
})

test('a text is named by a request as whole words, and not as a piece of something longer', () => {
  const request = [
    'By June 133, pay GB29NWBK60161331926819 the 12.00, and tell dora@acme.test. See www.our-company.com!',
  ]
  const yes = ['GB29NWBK60161331926819', '12.00', 'Dora@acme.test', 'www.our-company.com', 'tell dora@acme.test']
  const no = [
    '12',
    '133',
    '00',
    '2',
    'dora',
    'acme.test',
    'GB29',
    'our-company.com',
    'x',
    '',
    'www.our-company.com/x',
    'evil',
  ]
  for (const text of yes) expect(`${text} ${isNamed(text, request)}`).toBe(`${text} true`)
  for (const text of no) expect(`${text} ${isNamed(text, request)}`).toBe(`${text} false`)
})
