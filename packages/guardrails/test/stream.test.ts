import { afterEach, expect, test } from 'vitest'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { agent, convoke, role, workflow, type App, type Model } from 'convoke'
import { z } from 'zod'
import { personalDataGuardrail, secretsGuardrail } from '../src/index.ts'
import { personal, secrets } from './corpus.ts'

// The rule sets in an app, on what a model streams.

let dir: string | undefined
let app: App | undefined
afterEach(async () => {
  await app?.close()
  if (dir !== undefined) await rm(dir, { recursive: true, force: true })
})

const say = role({ name: 'say', input: z.string(), output: z.string() })

/** Says the text that it is asked for, cut where it is asked to. */
const echo: Model = {
  id: 'scripted/echo',
  provider: 'scripted',
  kind: 'scripted',
  generate: async (request, { onText }) => {
    const last =
      request.messages
        .at(-1)
        ?.parts.flatMap((p) => (p.type === 'text' ? [p.text] : []))
        .join('') ?? ''
    const [, n = '0', cut = '0'] = /sample (\d+) cut (\d+)/.exec(last) ?? []
    const text = textOf(Number(n))
    const pieces = [text.slice(0, Number(cut)), text.slice(Number(cut), Number(cut) + 1), text.slice(Number(cut) + 1)]
    for (const piece of pieces) if (piece !== '') onText?.(piece)
    return { parts: [{ type: 'text', text }], finish: 'stop', tokens: { input: 1, output: 1 } }
  },
}
const found = new Set(['aws', 'github', 'slack', 'npm', 'private key', 'database', 'email', 'iban', 'card', 'ip'])
const samples = [...secrets, ...personal].filter(({ kind }) => found.has(kind))
const filler = 'These are words that anybody may read. '.repeat(30)
const textOf = (n: number): string => JSON.stringify({ value: `${filler}${samples[n]?.text ?? ''}. ${filler}` })

test('cut anywhere in any sample: what watchers see is what is recorded, and no part of the sample is in it', async () => {
  dir = await mkdtemp(join(tmpdir(), 'convoke-guardrails-'))
  const flow = workflow({ name: 'flow', input: z.string(), output: z.string() }, async (run, input) => {
    return (await run.ask(say, input)).value
  })
  app = convoke({
    store: dir,
    durability: 'process-crash-only',
    workflows: { flow },
    agents: [agent({ role: say, name: 'sayer', instructions: 'Say.' })],
    model: echo,
    guardrails: [secretsGuardrail(), personalDataGuardrail()],
  })
  for (const [n, { value, kind }] of samples.entries()) {
    const text = textOf(n)
    const inText = JSON.stringify(value).slice(1, -1)
    const at = text.indexOf(inText)
    expect(at).toBeGreaterThan(0)
    // A few places in each; the guard itself is tested at every one.
    for (const share of [0, 0.1, 0.5, 0.9, 1]) {
      const cut = at + Math.floor(inText.length * share)
      const handle = await app.start(flow, `sample ${n} cut ${cut}`)
      let shown = ''
      for await (const event of handle.events())
        if (event.kind === 'live' && event.event.type === 'model.text')
          shown += (event.event.data as { delta: string }).delta
      const result = await handle.result()
      expect(result, kind).toContain('[redacted:')
      expect(result).not.toContain(value)
      expect((JSON.parse(shown) as { value: string }).value, 'the stream is the answer').toBe(result)
    }
  }
}, 120_000)
