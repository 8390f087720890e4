// An app with guardrails on its tools: a rule about text, code, and a judge that leaves a line in COUNTER when it is asked.
import { appendFileSync } from 'node:fs'
import { defineConfig, modelJudge, tool } from 'convoke'
import { rule, scriptedModel } from 'convoke/testing'
import { z } from 'zod'

const send = tool({
  name: 'mail.send',
  description: 'sends',
  effect: 'unsafe',
  inputSchema: z.object({ body: z.string() }),
  execute: () => null,
})
const rude = scriptedModel({
  id: 'judge',
  rules: [
    rule({
      name: 'judges',
      when: () => true,
      reply: () => {
        appendFileSync(process.env['COUNTER'] ?? '/dev/null', 'judged\n')
        return JSON.stringify({ verdict: 'deny', reason: 'it is rude' })
      },
    }),
  ],
})

export const config = defineConfig({
  workflows: {},
  tools: [send],
  guardrails: [
    {
      name: 'tokens',
      text: {
        find: (text) =>
          [...text.matchAll(/tok_\w+/g)].map(({ 0: it, index }) => ({
            start: index,
            end: index + it.length,
            kind: 'token',
          })),
        reach: 80,
        act: 'redact',
      },
    },
    {
      name: 'hours',
      before: ({ input }) => (JSON.stringify(input).includes('now') ? { ask: 'at once', category: 'haste' } : 'allow'),
    },
    modelJudge({ name: 'tone', model: rude, rules: 'Be polite.' }),
  ],
})
