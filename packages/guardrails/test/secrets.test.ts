import { performance } from 'node:perf_hooks'
import { expect, test } from 'vitest'
import { findSecrets, secretRule, secretRules, secretsGuardrail } from '../src/index.ts'
import { secrets } from './corpus.ts'

const npm = secrets.find((s) => s.kind === 'npm')!

test('all rules of the preset are asked, and the one that switches the others off is not', () => {
  expect(secretRules.length).toBeGreaterThanOrEqual(27)
  expect(secretRules).not.toContain('filter-comments')
  for (const comment of ['/* secretlint-disable */', '// secretlint-disable-line', '<!-- secretlint-disable -->'])
    expect(findSecrets(`${comment} ${npm.text} ${comment}`), comment).not.toEqual([])
})

test('nothing is kept of a text that was looked at', () => {
  const before = performance.getEntries().length
  for (let i = 0; i < 100; i++) findSecrets(`${npm.text} ${i}`)
  expect(performance.getEntries().length).toBe(before)
})

test('a finding says what kind it is and nothing of what it is', () => {
  for (const { value, text } of secrets)
    for (const { kind } of findSecrets(text)) {
      expect(kind).toMatch(/^[a-z0-9-]+ secret$/)
      expect(kind).not.toContain(value)
    }
})

test('where a private key has begun, or a word goes on and on, a stream waits', () => {
  const open = (text: string): number | undefined => secretRule.open?.(text)
  expect(open('nothing here')).toBeUndefined()
  expect(open('a key: -----BEGIN PRIVATE KEY-----\nMIIE')).toBe(7)
  expect(open('-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY----- and on')).toBeUndefined()
  expect(open(`word ${'x'.repeat(600)}`)).toBe(5)
})

test('the guardrail is named with its version, and says where it looks', () => {
  expect(secretsGuardrail()).toMatchObject({ name: 'secrets', version: '0.1.0', text: { act: 'redact' } })
  expect(secretsGuardrail({ name: 'out', act: 'deny', at: ['answer'], tools: 'mail.*', roles: 'clerk' })).toMatchObject(
    {
      name: 'out',
      tools: 'mail.*',
      roles: 'clerk',
      text: { act: 'deny', at: ['answer'] },
    },
  )
})
