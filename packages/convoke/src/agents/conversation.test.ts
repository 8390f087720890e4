import { expect, test } from 'vitest'
import { canonicalize } from '../core/canonical.ts'
import { noLabels } from '../core/labels.ts'
import { emptyHead, seal, type LedgerRecord } from '../core/record.ts'
import type { Json } from '../core/json.ts'
import type { Message, Part } from '../ports/model.ts'
import {
  extend,
  freshConversation,
  rebuild,
  recordedMessage,
  storedMessage,
  toolMessage,
  type Added,
} from './conversation.ts'

const text = (role: Message['role'], said: string): Message => ({ role, parts: [{ type: 'text', text: said }] })

/** Records and blobs as a ledger holds them, in memory; the ledger's own suite shows that it keeps them. */
function shelf() {
  const records: LedgerRecord[] = []
  const blobs = new Map<string, Uint8Array>()
  return {
    records,
    blobs,
    put(payload: Json, added: readonly Added[] = []): string {
      for (const { blob } of added) if (blob !== undefined) blobs.set(blob.hash, blob.bytes)
      const { record } = seal(
        { type: 'step.completed', actor: { kind: 'system', id: 't' }, labels: noLabels, payload },
        { tenant: 't', stream: 'run/r', epoch: 1, head: records.at(-1) ?? emptyHead, at: 0, salt: 's' },
      )
      records.push(record)
      return `run/r@${record.seq}`
    },
    read: async (_: unknown, { from = 1, limit = 1 } = {}) => records.slice(from - 1, from - 1 + limit),
    getBlob: async (_: string, hash: string) => blobs.get(hash),
  }
}

test('a conversation is rebuilt from its records exactly as it was sent', async () => {
  const ledger = shelf()
  const talk = freshConversation()
  const say = (added: readonly Added[], parts: readonly Part[]): void => {
    const messages = { ...(talk.base === undefined ? {} : { base: talk.base }), added: added.map((a) => a.key) }
    const ref = ledger.put({ op: 'model', value: { parts } as unknown as Json, messages }, added)
    extend(talk, added, { parts, ref })
  }
  const call: Part = { type: 'tool-call', id: 'c1', tool: 'erp.get', input: '{}' }
  const ask: Part = { type: 'tool-call', id: 'c2', tool: 'ask.validation', input: '{}' }
  const bad: Part = { type: 'tool-call', id: 'c3', tool: 'erp.none', input: '{' }
  say([storedMessage(text('system', 'be exact')), storedMessage(text('user', 'begin'))], [call, ask, bad])
  const got = ledger.put({ op: 'call', fp: 'x', value: { qty: '3' } })
  const outcome = ledger.put({ op: 'ask', fp: 'x', value: { value: { ok: true }, agent: 'v' } })
  say(
    [
      recordedMessage(toolMessage({ id: 'c1', tool: 'erp.get' }, { value: { qty: '3' } }, 's2'), got, 's2'),
      recordedMessage(toolMessage({ id: 'c2', tool: 'ask.validation' }, { value: { ok: true } }, 's3'), outcome, 's3'),
      storedMessage(toolMessage({ id: 'c3', tool: 'erp.none' }, { error: { code: 'TOOL_UNKNOWN', message: 'no' } })),
    ],
    [call],
  )
  const failed = ledger.put({ op: 'call', fp: 'x', error: { code: 'TOOL_FAILED', message: 'broken' } })
  const error = { error: { code: 'TOOL_FAILED', message: 'broken' } }
  say([recordedMessage(toolMessage({ id: 'c1', tool: 'erp.get' }, error), failed)], [{ type: 'text', text: 'done' }])

  const rebuilt = await rebuild(ledger as never, 't', talk.base!)
  expect(canonicalize(rebuilt)).toBe(canonicalize(talk.messages))
  expect(rebuilt).toHaveLength(9)
})

test('BLOB_MISSING, RECORD_UNKNOWN: a conversation with a hole is refused', async () => {
  const ledger = shelf()
  const message = storedMessage(text('user', 'hello'))
  const ref = ledger.put({ op: 'model', value: { parts: [] }, messages: { added: [message.key] } })
  await expect(rebuild(ledger as never, 't', ref)).rejects.toMatchObject({ code: 'BLOB_MISSING' })
  await expect(rebuild(ledger as never, 't', 'run/r@9')).rejects.toMatchObject({ code: 'RECORD_UNKNOWN' })
})

test('R3: the digest follows every message and every answer', () => {
  const make = (question: string, answer: string): string => {
    const talk = freshConversation()
    extend(talk, [storedMessage(text('user', question))], { parts: [{ type: 'text', text: answer }], ref: 'run/r@1' })
    return talk.digest
  }
  expect(make('a', 'b')).toBe(make('a', 'b'))
  expect(new Set([make('a', 'b'), make('a', 'c'), make('b', 'b')]).size).toBe(3)
})
