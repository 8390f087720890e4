import { expect, test } from 'vitest'
import { findSecrets, personalRule, secretRule } from '../src/index.ts'
import { clean, personal, secrets, type Sample } from './corpus.ts'

// What the rule sets find of texts that were made for it, by kind. The numbers stand in the README.

function table(
  samples: readonly Sample[],
  find: (text: string) => readonly { start: number; end: number }[],
): Record<string, string> {
  const counts = new Map<string, [number, number]>()
  for (const { kind, value, text } of samples) {
    const at = text.indexOf(value)
    const count = counts.get(kind) ?? [0, 0]
    counts.set(kind, count)
    count[1]++
    // The whole of it: what is left over of a key may be enough to use it.
    const covered = Array.from(value, (_, i) => find(text).some((f) => f.start <= at + i && at + i < f.end))
    if (covered.every(Boolean)) count[0]++
  }
  return Object.fromEntries([...counts].map(([kind, [found, all]]) => [kind, `${found}/${all}`]))
}

test('secrets: what is found, whole, and what is not', () => {
  expect(table(secrets, findSecrets)).toEqual({
    aws: '3/3',
    github: '2/2',
    gitlab: '1/1',
    slack: '2/2',
    openai: '2/2',
    anthropic: '1/1',
    sendgrid: '1/1',
    npm: '1/1',
    stripe: '1/1',
    shopify: '1/1',
    linear: '1/1',
    huggingface: '1/1',
    'private key': '2/2',
    'basic auth': '1/1',
    database: '1/1',
    google: '0/1',
    jwt: '0/1',
    azure: '0/1',
    telegram: '0/1',
    password: '0/1',
  })
})

test('personal data: what is found, and what is not', () => {
  expect(table(personal, personalRule({ countries: ['US', 'DE'] }).find)).toEqual({
    email: '5/5',
    phone: '6/6',
    iban: '4/4',
    card: '3/3',
    person: '3/3',
    ip: '2/2',
    'international email': '0/1',
    'iban that is none': '0/1',
    'date of birth': '0/1',
    address: '0/1',
    name: '0/1',
  })
  const without = table(personal, personalRule().find)
  expect([without['phone'], without['person']]).toEqual(['4/6', '0/3'])
})

test('nothing is found where there is nothing', () => {
  const rules = {
    secrets: findSecrets,
    personal: personalRule().find,
    'personal, US and DE': personalRule({ countries: ['US', 'DE'] }).find,
  }
  const wrong = Object.entries(rules).flatMap(([name, find]) =>
    clean.flatMap((text) => find(text).map((f) => `${name}: ${f.kind} ${text.slice(f.start, f.end)}`)),
  )
  expect(wrong).toEqual([])
})

test('no text keeps a rule from ending, however it is made', { timeout: 300_000 }, () => {
  const hostile = [
    'a',
    '1',
    'a@',
    'a.',
    '1-',
    '12 ',
    '+49 ',
    '+1(',
    '(1) ',
    'DE89 ',
    'tel 1',
    ':',
    '1.',
    'f:',
    'sk-',
    ' ',
  ]
  hostile.push('https://a:', 'aws_secret_access_key=', '-----BEGIN PRIVATE KEY-----', 'postgres://a:b', 'eyJ', '"')
  const find = personalRule({ countries: ['US', 'DE'] }).find
  for (const piece of hostile) {
    const text = piece.repeat(16_000 / piece.length)
    for (const { start, end } of [...findSecrets(text), ...find(text)]) {
      expect(start).toBeLessThan(end)
      expect(end).toBeLessThanOrEqual(text.length)
    }
    expect(secretRule.open?.(text) ?? 0).toBeLessThanOrEqual(text.length)
  }
})
