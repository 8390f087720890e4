import { existsSync, globSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { expect, test } from 'vitest'
import { findSecrets, personalRule } from '../src/index.ts'

// Texts that were not made for this: what providers really answered, and what tools of AgentDojo really gave.

const data = process.env['CONVOKE_TEST_DATA'] ?? resolve(import.meta.dirname, '../../../../shared/data')

function strings(value: unknown, out: string[] = []): string[] {
  if (typeof value === 'string') out.push(value)
  else if (typeof value === 'object' && value !== null) for (const item of Object.values(value)) strings(item, out)
  return out
}

function look(folder: string): { texts: number; characters: number; kinds: Record<string, number> } {
  const texts = new Set<string>()
  for (const file of globSync(join(data, folder, '**/*.{json,jsonl,yaml}'))) {
    const text = readFileSync(file, 'utf8')
    for (const line of file.endsWith('.jsonl') ? text.split('\n') : [text])
      try {
        for (const one of strings(JSON.parse(line))) texts.add(one)
      } catch {
        texts.add(line)
      }
  }
  const rules = [findSecrets, personalRule().find]
  const kinds = new Map<string, Set<string>>()
  let characters = 0
  for (const text of texts) {
    characters += text.length
    for (const find of rules)
      for (const { kind, start, end } of find(text)) {
        const seen = kinds.get(kind) ?? new Set()
        kinds.set(kind, seen.add(text.slice(start, end)))
      }
  }
  return { texts: texts.size, characters, kinds: Object.fromEntries([...kinds].map(([k, v]) => [k, v.size])) }
}

test.runIf(existsSync(join(data, 'agentdojo')))(
  'AgentDojo: mail and accounts are full of personal data',
  () => {
    const { texts, characters, kinds } = look('agentdojo')
    process.stderr.write(
      `agentdojo: ${texts} texts, ${characters} characters, distinct findings ${JSON.stringify(kinds)}\n`,
    )
    expect(texts).toBeGreaterThan(100)
    expect(kinds['email']).toBeGreaterThan(10)
  },
  120_000,
)

test.runIf(existsSync(join(data, 'tau2-retail')))(
  'tau2 retail: orders, and hardly anything that looks like a secret',
  () => {
    const { texts, characters, kinds } = look('tau2-retail')
    process.stderr.write(
      `tau2-retail: ${texts} texts, ${characters} characters, distinct findings ${JSON.stringify(kinds)}\n`,
    )
    expect(texts).toBeGreaterThan(100)
    expect(Object.keys(kinds).filter((k) => k.endsWith('secret'))).toEqual([])
  },
  120_000,
)
