import { isConvokeError } from '../core/errors.ts'
import type { JsonObject } from '../core/json.ts'
import { noLabels } from '../core/labels.ts'
import { emptyHead, seal, type Actor, type LedgerRecord } from '../core/record.ts'
import type { Ledger } from '../ports/ledger.ts'

// Policy streams have many writers and no owner: whoever appends read the stream before, and is refused when somebody
// else was first. Then it reads again and decides again.

export interface PolicyDraft {
  readonly type: string
  readonly payload: JsonObject
  readonly actor: Actor
  /** Milliseconds since the epoch. */
  readonly at: number
  /** 32 hexadecimal digits, random. */
  readonly salt: string
}

const page = 1000
const maxTries = 100

/** Records of a policy stream from `from` on. */
export async function readPolicy(ledger: Ledger, tenant: string, stream: string, from = 1): Promise<LedgerRecord[]> {
  const all: LedgerRecord[] = []
  for (let next = from; ;) {
    const records = await ledger.read({ tenant, stream }, { from: next, limit: page })
    all.push(...records)
    if (records.length < page) return all
    next = (records[records.length - 1] as LedgerRecord).seq + 1
  }
}

/** Appends what `next` makes of the stream as it stands; nothing when that is nothing. Returns what was appended. */
export async function appendPolicy(
  ledger: Ledger,
  tenant: string,
  stream: string,
  next: (records: readonly LedgerRecord[]) => readonly PolicyDraft[],
): Promise<readonly LedgerRecord[]> {
  for (let tries = 0; ; tries++) {
    const there = await readPolicy(ledger, tenant, stream)
    let head = there.at(-1) ?? emptyHead
    const records: LedgerRecord[] = []
    for (const { type, payload, actor, at, salt } of next(there)) {
      const { record } = seal({ type, payload, actor, labels: noLabels }, { tenant, stream, epoch: 0, head, at, salt })
      records.push(record)
      head = record
    }
    if (records.length === 0) return records
    try {
      await ledger.append([{ ref: { tenant, stream }, epoch: 0, records }])
      return records
    } catch (error) {
      if (!isConvokeError(error, 'POSITION_STALE') || tries >= maxTries) throw error
    }
  }
}
