import { canonicalize, decode } from '../core/canonical.ts'
import { ConvokeError, type ErrorData } from '../core/errors.ts'
import { sha256 } from '../core/hash.ts'
import type { Json, JsonObject } from '../core/json.ts'
import type { Labels } from '../core/labels.ts'
import { parseRef, type Blob, type RecordRef } from '../core/record.ts'
import type { Ledger } from '../ports/ledger.ts'
import type { Message, Part } from '../ports/model.ts'

// A conversation is a chain of model calls: each call's record names the call before it (`base`) and the messages added
// since (`added`), so that n turns store each message once. An added message is the hash of a blob, or the record of a
// tool call whose result it shows, `<ref>` or `<ref>#<segment>`, so that a result is not stored a second time.

/** A message on its way into the next model call. */
export interface Added {
  readonly message: Message
  /** SHA-256 of the canonical message. */
  readonly hash: string
  /** How the call's record names it. */
  readonly key: string
  readonly blob?: Blob
}

/** Owned by the loop that holds it; `messages` lacks what `base` led to when `loaded` is false (a session goes on). */
export interface Conversation {
  base: RecordRef | undefined
  digest: string
  loaded: boolean
  readonly messages: Message[]
  /** Of what was said before it was loaded. */
  readonly labels?: Labels | undefined
}

export function freshConversation(): Conversation {
  return { base: undefined, digest: '', loaded: true, messages: [] }
}

/** What a later ask needs to go on where this one ended. */
export interface SessionState {
  readonly base: RecordRef
  readonly digest: string
  /** Segments that were numbered so far: names do not repeat within a conversation. */
  readonly segments: number
  /** What the asks before had seen, where it says more than sources. */
  readonly labels?: Labels
}

export function continueConversation(state: SessionState): Conversation {
  return { base: state.base, digest: state.digest, loaded: false, messages: [], labels: state.labels }
}

export function storedMessage(message: Message): Added {
  const text = canonicalize(message)
  const hash = sha256(text)
  return {
    message,
    hash,
    key: hash,
    blob: { hash, bytes: Buffer.from(text, 'utf8'), mediaType: 'application/json' },
  }
}

/** A tool's result as the model sees it; with a segment's name where claims have to cite it. */
export function toolMessage(
  call: { readonly id: string; readonly tool: string },
  result: { readonly value?: Json; readonly error?: ErrorData },
  segment?: string,
): Message {
  const failed = result.error !== undefined
  const output = failed ? ({ ...result.error } as unknown as Json) : (result.value ?? null)
  const part: Part = {
    type: 'tool-result',
    id: call.id,
    tool: call.tool,
    output: segment === undefined ? output : { segment, result: output },
    ...(failed ? { isError: true } : {}),
  }
  return { role: 'tool', parts: [part] }
}

/** What a tool call's or a nested ask's record gives to the model. */
export function resultOf(payload: JsonObject): Json {
  const value = payload['value'] ?? null
  return payload['op'] === 'ask' ? ((value as JsonObject)['value'] ?? null) : value
}

/** A message that its tool call's record already holds. */
export function recordedMessage(message: Message, ref: RecordRef, segment?: string): Added {
  return { message, hash: sha256(canonicalize(message)), key: segment === undefined ? ref : `${ref}#${segment}` }
}

export function digestWith(digest: string, added: readonly Added[]): string {
  return sha256([digest, ...added.map((a) => a.hash)].join('\n'))
}

/** Takes the call into the chain: what it was asked, and what it answered. */
export function extend(
  conversation: Conversation,
  added: readonly Added[],
  answer: { readonly parts: readonly Part[]; readonly ref: RecordRef },
): void {
  conversation.digest = sha256(`${digestWith(conversation.digest, added)}\n${canonicalize(answer.parts)}`)
  conversation.base = answer.ref
  for (const { message } of added) conversation.messages.push(message)
  conversation.messages.push({ role: 'assistant', parts: answer.parts })
}

const maxCalls = 100_000

/**
 * All messages up to and including the answer of a model call, in order. Reads one record per call and one blob or
 * record per message.
 * @throws RECORD_UNKNOWN, BLOB_MISSING
 */
export async function rebuild(
  ledger: Pick<Ledger, 'read' | 'getBlob'>,
  tenant: string,
  base: RecordRef,
): Promise<Message[]> {
  const calls: { readonly added: readonly string[]; readonly parts: readonly Part[] }[] = []
  for (let ref: RecordRef | undefined = base; ref !== undefined && calls.length < maxCalls;) {
    let payload: JsonObject = await payloadOf(ledger, tenant, ref)
    const reused = payload['reused']
    if (typeof reused === 'string') payload = await payloadOf(ledger, tenant, reused)
    const chain = (payload['messages'] ?? {}) as { readonly base?: RecordRef; readonly added?: readonly string[] }
    const value = (payload['value'] ?? {}) as unknown as { readonly parts?: readonly Part[] }
    calls.push({ added: chain.added ?? [], parts: value.parts ?? [] })
    ref = chain.base
  }
  const messages: Message[] = []
  let asked: readonly Extract<Part, { type: 'tool-call' }>[] = []
  for (const { added, parts } of calls.reverse()) {
    for (const [i, key] of added.entries()) messages.push(await messageOf(ledger, tenant, key, asked[i]))
    messages.push({ role: 'assistant', parts })
    asked = parts.filter((part) => part.type === 'tool-call')
  }
  return messages
}

async function messageOf(
  ledger: Pick<Ledger, 'read' | 'getBlob'>,
  tenant: string,
  key: string,
  call: { readonly id: string; readonly tool: string } | undefined,
): Promise<Message> {
  if (!key.includes('@')) return (await blobOf(ledger, tenant, key)) as unknown as Message
  const [ref = key, segment] = key.split('#', 2)
  const payload = await payloadOf(ledger, tenant, ref)
  const error = payload['error'] as unknown as ErrorData | undefined
  const result = error === undefined ? { value: resultOf(payload) } : { error }
  return toolMessage({ id: call?.id ?? '', tool: call?.tool ?? '' }, result, segment)
}

async function payloadOf(
  ledger: Pick<Ledger, 'read' | 'getBlob'>,
  tenant: string,
  ref: RecordRef,
): Promise<JsonObject> {
  const { stream, seq } = parseRef(ref)
  const [record] = await ledger.read({ tenant, stream }, { from: seq, limit: 1 })
  if (record === undefined || record.seq !== seq)
    throw new ConvokeError('RECORD_UNKNOWN', `record ${ref} of a conversation is not there`, { details: { ref } })
  return (record.spill === undefined ? record.payload : await blobOf(ledger, tenant, record.spill)) as JsonObject
}

async function blobOf(ledger: Pick<Ledger, 'getBlob'>, tenant: string, hash: string): Promise<Json> {
  const bytes = await ledger.getBlob(tenant, hash)
  if (bytes === undefined)
    throw new ConvokeError('BLOB_MISSING', `message ${hash} of a conversation is not there`, { details: { hash } })
  return decode(Buffer.from(bytes).toString('utf8'))
}
