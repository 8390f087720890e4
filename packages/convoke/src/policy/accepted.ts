import type { Json, JsonObject } from '../core/json.ts'
import { refOf, type Actor, type RecordRef } from '../core/record.ts'
import type { Ledger } from '../ports/ledger.ts'
import { appendPolicy, readPolicy } from './log.ts'

// Who let a foreign tool in. Which tools there are is said by the file of pins, which is reviewed like code; the stream
// `policy/tools` holds that a person accepted one, so that an auditor finds it in the chain beside all else.

export const toolStream = 'policy/tools'

/** A person's decision that what a server serves as a tool may be one. */
export interface ToolAcceptance {
  /** `<server>.<tool>`. */
  readonly tool: string
  readonly server: string
  /** Hash of what was accepted before; absent where nothing was. */
  readonly was?: string
  readonly hash: string
  /** Why it had to be accepted: `new`, `changed`, `shadowing`, … */
  readonly reasons: readonly string[]
  /** Other tools that it looks like. */
  readonly rivals: readonly string[]
  /** From what was accepted before to what is now; its first 20,000 characters. */
  readonly difference: string
  readonly by: Actor
  /** Milliseconds since the epoch. */
  readonly at: number
  /** The record that holds it. */
  readonly ref: RecordRef
}

const longest = 20_000

export interface AcceptanceOptions {
  /** 32 random hexadecimal digits. */
  readonly salt: string
  /** What must not be written; nothing is hidden unless said. */
  readonly redact?: (payload: JsonObject) => JsonObject
}

/**
 * Writes down that a person accepts a tool. The same again, by the same person and with nothing accepted in between, is
 * one record: whoever was interrupted before the pins were written does it again.
 */
export async function recordToolAcceptance(
  ledger: Ledger,
  tenant: string,
  its: Omit<ToolAcceptance, 'ref'>,
  o: AcceptanceOptions,
): Promise<void> {
  const { tool, server, was, hash, reasons, rivals, difference, by, at } = its
  const payload: JsonObject = {
    tool,
    server,
    ...(was === undefined ? {} : { was }),
    hash,
    reasons,
    rivals,
    difference: difference.slice(0, longest).toWellFormed(),
  }
  await appendPolicy(ledger, tenant, toolStream, (records) => {
    const last = records.findLast((r) => (r.payload as JsonObject)['tool'] === tool)
    if (last !== undefined && (last.payload as JsonObject)['hash'] === hash && last.actor.id === by.id) return []
    const { redact = (all) => all } = o
    return [{ type: 'tool.accepted', payload: redact(payload), actor: by, at: Math.floor(at), salt: o.salt }]
  })
}

/** Every acceptance on record, the oldest first. */
export async function toolAcceptances(ledger: Ledger, tenant: string): Promise<readonly ToolAcceptance[]> {
  const texts = (value: Json | undefined): readonly string[] => (Array.isArray(value) ? value.map(String) : [])
  const text = (value: Json | undefined): string => (typeof value === 'string' ? value : '')
  return (await readPolicy(ledger, tenant, toolStream)).flatMap((record) => {
    const p = (record.payload ?? {}) as JsonObject
    if (record.type !== 'tool.accepted') return []
    return {
      tool: text(p['tool']),
      server: text(p['server']),
      ...(typeof p['was'] === 'string' ? { was: p['was'] } : {}),
      hash: text(p['hash']),
      reasons: texts(p['reasons']),
      rivals: texts(p['rivals']),
      difference: text(p['difference']),
      by: record.actor,
      at: record.at,
      ref: refOf(record),
    }
  })
}
