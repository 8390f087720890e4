import { describe, expect, test } from 'vitest'
import { conceal, envSecrets, firstOf, resolveSecret, scrub, scrubText } from './secrets.ts'

const value = 'käse & "brot"/9'
const store = { get: (name: string) => (name === 'key' ? value : undefined) }

describe('what was resolved', () => {
  test('is taken out in every writing, in values and in names', async () => {
    await resolveSecret(store, 'key')
    const bytes = Buffer.from(value)
    const percent = encodeURIComponent(value)
    for (const form of [
      value,
      percent,
      percent.replace(/%[0-9A-F]{2}/g, (hex) => hex.toLowerCase()),
      new URLSearchParams({ v: value }).toString().slice(2),
      JSON.stringify(value).slice(1, -1),
      bytes.toString('base64'),
      bytes.toString('base64url'),
      bytes.toString('hex'),
    ])
      expect(scrubText(store, `<${form}>`)).toBe('<[secret:key]>')
    expect(scrub(store, { [value]: [value, { x: `a${value}b` }] })).toEqual({
      '[secret:key]': ['[secret:key]', { x: 'a[secret:key]b' }],
    })
  })

  test('is taken out of base64 at any offset, so that nothing of it can be read', () => {
    for (const before of ['', 'u', 'us', 'use', 'user:'])
      for (const after of ['', '.', '..', '...']) {
        const text = scrubText(store, Buffer.from(`${before}${value}${after}`).toString('base64'))
        expect(text).toContain('[secret:key]')
        const rest = text.split('[secret:key]').map((part) => Buffer.from(part, 'base64').toString())
        expect(rest.join('').length).toBeLessThan(before.length + after.length + 8)
      }
  })

  test('leaves everything else as it is, the object itself included', () => {
    const other = { a: ['nothing here', 1, null, true], b: { c: 'x' } }
    expect(scrub(store, other)).toBe(other)
    expect(scrub({ get: () => undefined }, other)).toBe(other)
  })

  test('the longest wins where one is a part of another', () => {
    const both = { get: () => undefined }
    conceal(both, 'abcdef', 'short')
    conceal(both, 'abcdefghijkl', 'long')
    expect(scrubText(both, 'x abcdefghijkl abcdef')).toBe('x [secret:long] [secret:short]')
  })

  test('values of one to three characters count only when they are all there is', () => {
    const tiny = { get: () => undefined }
    conceal(tiny, '42', 'pin')
    expect(scrubText(tiny, '42')).toBe('[secret:pin]')
    expect(scrubText(tiny, '1429')).toBe('1429')
  })

  test('tokens that came and went are forgotten at some point, and cost no more', () => {
    const many = { get: () => undefined }
    for (let i = 0; i < 3_000; i++) conceal(many, `token-${String(i).padStart(8, '0')}`, 'token')
    expect(scrubText(many, 'token-00002999')).toBe('[secret:token]')
    expect(scrubText(many, 'token-00000000')).toBe('token-00000000')
  })
})

describe('sources', () => {
  test('SECRET_MISSING says how to give a value, and nothing that the source said', async () => {
    await expect(resolveSecret(envSecrets({}), 'erp-token')).rejects.toMatchObject({
      code: 'SECRET_MISSING',
      next: 'set CONVOKE_SECRET_ERP_TOKEN',
    })
    const failing = { get: () => Promise.reject(new Error('vault said: hunter22')) }
    const error: unknown = await resolveSecret(failing, 'x').catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'SECRET_MISSING' })
    expect(JSON.stringify(error)).not.toContain('hunter22')
  })

  test('are asked one after the other', async () => {
    const source = firstOf(envSecrets({ CONVOKE_SECRET_A: '' }), {
      get: (name) => `vault ${name}`,
      hint: () => 'ask ada',
    })
    expect(await resolveSecret(source, 'a')).toBe('vault a')
    expect(source.hint?.('a')).toBe('set CONVOKE_SECRET_A, or ask ada')
  })
})
