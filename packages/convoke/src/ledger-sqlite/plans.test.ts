import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createArchive } from './archive.ts'
import { createMemory } from './streams.ts'
import { createBlobs } from './blobs.ts'
import { createQueries } from './queries.ts'
import { createReads } from './reads.ts'
import { openStore } from './schema.ts'

// Every question that is asked again and again costs what it answers, not what is stored: SQLite says of each how it
// goes about it, and nowhere may it walk a whole table or sort one. Texts are caught as they are prepared.

let dir: string
let db: DatabaseSync
const texts = new Set<string>()

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'convoke-plans-'))
  db = openStore({ dir, durability: 'full', busyMs: 1_000 })
})
afterAll(() => {
  db.close()
  rmSync(dir, { recursive: true })
})

/** The database, which notes what is prepared on it. */
function noting(): DatabaseSync {
  return new Proxy(db, {
    get(target, name) {
      if (name !== 'prepare') return Reflect.get(target, name, target) as unknown
      return (text: string) => {
        texts.add(text)
        return target.prepare(text)
      }
    },
  })
}

interface Step {
  readonly parent: number
  readonly detail: string
}

const stepsOf = (text: string): string[] =>
  (db.prepare(`EXPLAIN QUERY PLAN ${text}`).all() as unknown as Step[]).map(({ detail }) => detail)

/** The steps of a plan that walk or sort a whole table. */
function costly(text: string): string[] {
  const steps = db.prepare(`EXPLAIN QUERY PLAN ${text}`).all() as unknown as Step[]
  // Few rows each: workers that live, priorities, and what the walks of one question have gathered within its limit.
  const small = /^SCAN (workers|p|json_each|\(subquery)/
  // The first entry of an index is all that is taken of it; the dependents of one record are the answer.
  const known = text.includes('p(priority)') ? ['SCAN r USING COVERING INDEX runs_ready'] : []
  if (text.includes('FROM dependents')) known.push('USE TEMP B-TREE FOR ORDER BY')
  const merges = ({ parent }: Step): boolean =>
    steps.some((other) => other.parent === parent && other.detail.startsWith('SCAN (subquery'))
  return steps
    .filter((step) => {
      const { detail } = step
      if (known.includes(detail)) return false
      if (detail.startsWith('USE TEMP B-TREE')) return !merges(step)
      return detail.startsWith('SCAN') && !small.test(detail)
    })
    .map(({ detail }) => detail)
}

const statuses = ['queued', 'running', 'parked', 'stopped', 'done'] as const

test('lists of runs, approvals, due timers and reads walk an index', () => {
  const watched = noting()
  const queries = createQueries(watched, { seemsAlive: () => true })
  createReads(watched, createBlobs(watched, createMemory(watched)))
  const narrow = [{}, { workflow: 'w' }, { tag: 't' }, { before: 'r' }, { workflow: 'w', tag: 't', before: 'r' }]
  for (const more of narrow) {
    queries.runs({ tenant: 't', ...more })
    queries.runs({ tenant: 't', status: [...statuses], ...more })
    for (const status of statuses) queries.runs({ tenant: 't', status: [status], ...more })
  }
  for (const status of [null, 'pending']) for (const run of [null, 'r']) queries.approvals('t', status, run, 10)
  queries.ready(1, 10, null)
  queries.ready(1, 10, 't')
  queries.nextDue(1)
  expect(texts.size).toBeGreaterThan(50)
  const wrong = [...texts].map((text) => ({ text, steps: costly(text) })).filter(({ steps }) => steps.length > 0)
  expect(wrong).toEqual([])
})

test('so does archiving', () => {
  texts.clear()
  const watched = noting()
  const memory = createMemory(watched)
  const parts = { db: watched, memory, blobs: createBlobs(watched, memory) } as unknown as Parameters<
    typeof createArchive
  >[0]
  createArchive(parts)
  // What looks for content goes through positions, portion by portion.
  const asked = [...texts].filter(
    (text) => /^(SELECT|DELETE|UPDATE)/.test(text) && !/ORPHANS|:upTo|UNIXEPOCH/i.test(text),
  )
  expect(asked.length).toBeGreaterThan(15)
  const wrong = asked
    .map((text) => ({
      text,
      steps: [...costly(text), ...stepsOf(text).filter((detail) => detail.endsWith('(tenant=?)'))],
    }))
    .filter(({ steps }) => steps.length > 0)
  expect(wrong).toEqual([])
  expect(stepsOf(`DELETE FROM approvals WHERE tenant = 't' AND run = 'r'`)[0]).toMatch(/\(tenant=\?\)$/)
})

test('the test sees a walk over a whole table, and a sort', () => {
  expect(costly(`SELECT * FROM runs r WHERE json_extract(r.row, '$.version') = '1'`)).toEqual(['SCAN r'])
  expect(costly(`SELECT * FROM runs r WHERE r.tenant = 't' ORDER BY r.priority`)).toEqual([
    'USE TEMP B-TREE FOR ORDER BY',
  ])
})
