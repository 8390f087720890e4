import { ConvokeError, isConvokeError } from '../core/errors.ts'
import { runStream } from '../core/projections.ts'
import type { Ledger } from '../ports/ledger.ts'
import { entryOf } from '../replay/history.ts'

// A business key belongs to the first call that reserves it, for ever, unless that call certainly did nothing or was
// taken back. Guards cannot be given back, so a key that became free again is reserved under a further number: number
// n + 1 may be taken only once the owner of n is out for good, so no two calls ever hold the key at once.

const maxOwners = 100

interface Owner {
  readonly run: string
  readonly path: string
}

export interface Reservation {
  readonly tenant: string
  readonly tool: string
  readonly key: string
  readonly owner: Owner
  /** Runs whose call this one may repeat: ancestors of a fork, whose effect a person released. */
  readonly heirOf: readonly string[]
}

/** @throws BUSINESS_KEY_TAKEN naming the owner */
export async function reserve(ledger: Ledger, r: Reservation): Promise<void> {
  const { tenant, tool, key } = r
  const mine = print(r.owner)
  for (let n = 1; n <= maxOwners; n++) {
    const guard = n === 1 ? `biz:${tool}:${key}` : `biz#${n}:${tool}:${key}`
    try {
      await ledger.append([], { guards: [{ kind: 'unique', tenant, key: guard, owner: mine }] })
      return
    } catch (error) {
      if (!isConvokeError(error, 'UNIQUE_TAKEN')) throw error
    }
    const text = await ledger.guardOwner(tenant, guard)
    if (text === mine || text === undefined) return
    const owner = parse(text)
    if (r.heirOf.includes(owner.run)) return
    if (!(await isOut(ledger, tenant, owner)))
      throw new ConvokeError('BUSINESS_KEY_TAKEN', `${tool} was already called for ${key} by run ${owner.run}`, {
        details: { tool, businessKey: key, run: owner.run, path: owner.path },
        next: `look at it: convoke why ${owner.run} ${owner.path}`,
      })
  }
  throw new ConvokeError('BUSINESS_KEY_TAKEN', `${tool} was called for ${key} by ${maxOwners} others`, {
    details: { tool, businessKey: key },
    next: 'use a business key of its own for each business fact',
  })
}

function print(owner: Owner): string {
  return `${encodeURIComponent(owner.run)}:${owner.path}`
}

function parse(text: string): Owner {
  const cut = text.indexOf(':')
  return { run: decodeURIComponent(text.slice(0, cut)), path: text.slice(cut + 1) }
}

/** Whether a call is recorded to have done nothing, or to have been taken back. */
async function isOut(ledger: Ledger, tenant: string, owner: Owner): Promise<boolean> {
  const ref = { tenant, stream: runStream(owner.run) }
  const page = 1000
  for (let from = 1; ; from += page) {
    const records = await ledger.read(ref, { from, limit: page })
    for (const record of records) {
      if (record.path === owner.path && record.type === 'step.failed') {
        const { payload } = await entryOf(ledger, record)
        if (payload['effect'] === 'none') return true
      }
      if (record.path === `${owner.path}~undo` && record.type === 'step.completed') return true
    }
    if (records.length < page) return false
  }
}
