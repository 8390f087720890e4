import { expect, test } from 'vitest'
import { begin, flow, newWorld, temporaryFolder } from '../../test/durable/world.ts'
import { ConvokeError } from '../core/errors.ts'
import type { LedgerRecord } from '../core/record.ts'
import { openLedger } from '../ledger-sqlite/index.ts'
import { createChain } from '../testing/chain.ts'
import { createMemoryStore } from '../testing/memory-ledger.ts'
import type { Ledger } from '../ports/ledger.ts'
import { createBegun } from './begun.ts'

// What this process has just written itself is not read again; what others wrote is.

const ref = (run: string) => ({ tenant: 't', stream: `run/${run}` })
const inbox = (run: string) => ({ tenant: 't', stream: `inbox/${run}` })

function recordsOf(run: string): readonly [LedgerRecord, LedgerRecord] {
  const chain = createChain(ref(run))
  return [chain.next({ type: 'run.started' }), chain.next({ type: 'run.input' })]
}

test('a run is given by the head that the ledger claims with, until it is driven', () => {
  const begun = createBegun(() => 0)
  const records = recordsOf('a')
  begun.add(ref('a'), records)
  expect(begun.get(ref('a'), records[1])?.records).toBe(records)
  expect(begun.get(ref('a'), records[0])).toBeUndefined()
  expect(begun.get({ tenant: 'other', stream: 'run/a' }, records[1])).toBeUndefined()
  begun.drop(ref('a'))
  expect(begun.get(ref('a'), records[1])).toBeUndefined()
})

test('what comes to its inbox, or to anything, touches it; what comes to its own stream or to others does not', () => {
  const begun = createBegun(() => 0)
  const [a, b] = [recordsOf('a'), recordsOf('b')]
  begun.add(ref('a'), a)
  begun.add(ref('b'), b)
  begun.touch([ref('a'), ref('b'), inbox('c')])
  expect([begun.get(ref('a'), a[1])?.touched, begun.get(ref('b'), b[1])?.touched]).toEqual([false, false])
  begun.touch([inbox('a')])
  expect([begun.get(ref('a'), a[1])?.touched, begun.get(ref('b'), b[1])?.touched]).toEqual([true, false])
  begun.touch(undefined)
  expect(begun.get(ref('b'), b[1])?.touched).toBe(true)
})

test('few are kept: those that nobody drives for a minute make room', () => {
  let now = 0
  const begun = createBegun(() => now)
  const records = recordsOf('a')
  const add = (run: string): boolean => {
    begun.add(ref(run), records)
    return begun.get(ref(run), records[1]) !== undefined
  }
  let kept = 0
  while (kept < 100_000 && add(`r${kept}`)) kept++
  expect(kept).toBe(4_096)
  now = 59_000
  expect(add('late')).toBe(false)
  now = 61_000
  expect(add('later')).toBe(true)
})

/** Counts what is asked of a ledger. */
function counting(ledger: Ledger, asked: Map<string, number>): Ledger {
  const counted = <A extends readonly unknown[], R>(name: string, act: (...args: A) => R) => {
    return (...args: A): R => {
      asked.set(name, (asked.get(name) ?? 0) + 1)
      return act(...args)
    }
  }
  return {
    ...ledger,
    run: counted('run', ledger.run),
    claim: counted('claim', ledger.claim),
    read: (at, options) => counted(`read ${at.stream}`, ledger.read)(at, options),
    ...(ledger.readAhead === undefined
      ? {}
      : { readAhead: (at, options) => counted(`read ${at.stream}`, ledger.readAhead as never)(at, options) }),
  } as Ledger
}

test('a run that was begun here is driven without reading anything of it', async () => {
  const dir = temporaryFolder()
  const asked = new Map<string, number>()
  const app = newWorld().app([flow('plain', async (run, input) => run.step('a', () => input))], {
    // In its thread from the start: one that moves there looks at everything once.
    openLedger: async () => counting(await openLedger({ dir }, 'never'), asked),
  })
  expect(await (await begin(app, 'plain', 7)).result()).toBe(7)
  expect([...asked.keys()].filter((name) => /^read (run|inbox)/.test(name))).toEqual([])
  // One that is there already is looked for.
  expect(await (await begin(app, 'plain', 7)).result()).toBe(7)
  expect([...asked.keys()]).toContain('read run/r')
  await expect(begin(app, 'plain', 8)).rejects.toMatchObject({ code: 'RUN_EXISTS' })
})

/** A ledger whose claims are held: `claimed` resolves with the first, `go` lets them through. */
function held(open: () => Ledger): {
  readonly open: () => Promise<Ledger>
  readonly claimed: Promise<void>
  go(): void
} {
  const claimed = Promise.withResolvers<void>()
  const gone = Promise.withResolvers<void>()
  return {
    claimed: claimed.promise,
    go: gone.resolve,
    open: async () => {
      const ledger = open()
      const claim: Ledger['claim'] = async (at, worker) => {
        claimed.resolve()
        await gone.promise
        return await ledger.claim(at, worker)
      }
      return { ...ledger, claim }
    },
  }
}

test('what came to its inbox before it was driven is there when it begins', async () => {
  const ran: string[] = []
  const store = createMemoryStore()
  const asked = new Map<string, number>()
  const claims = held(() => counting(store.open(), asked))
  const app = newWorld().app([flow('steps', async (run) => run.step('a', () => ran.push('a')))], {
    openLedger: claims.open,
  })
  const handle = await begin(app, 'steps', null)
  await claims.claimed
  const other = newWorld().app([], { openLedger: async () => store.open(), drives: false })
  await (await other.run('r')).cancel('not needed')
  claims.go()
  await expect(handle.result()).rejects.toMatchObject({ code: 'RUN_CANCELLED' })
  expect(ran).toEqual([])
  expect(asked.get('read run/r')).toBeUndefined()
})

test('a run that another has driven since is read', async () => {
  const store = createMemoryStore()
  const asked = new Map<string, number>()
  const claims = held(() => counting(store.open(), asked))
  const ran: string[] = []
  const code = flow('two', async (run) => {
    await run.step('first', () => void ran.push('first'))
    await run.sleep(3_600_000)
  })
  const first = newWorld().app([code], { openLedger: claims.open })
  const handle = await begin(first, 'two', null)
  await claims.claimed
  const second = newWorld().app([code], { openLedger: async () => store.open() })
  await second.work()
  await expect.poll(async () => (await (await second.run('r')).status()).status).toBe('parked')
  await second.close()
  claims.go()
  await expect.poll(() => asked.get('read run/r')).toBeGreaterThan(0)
  await expect.poll(async () => (await handle.status()).status).toBe('parked')
  expect(ran).toEqual(['first'])
})

/** An app that drives, and whose ledger's calls are counted from then on. */
async function driving(change: (ledger: Ledger) => Partial<Ledger> = () => ({}), concurrency = 8) {
  const store = createMemoryStore()
  const asked = new Map<string, number>()
  const gate = Promise.withResolvers<void>()
  const began: string[] = []
  const code = flow('gated', async (run, waits: boolean) =>
    run.step('a', async () => {
      began.push(run.id)
      if (waits) await gate.promise
      return run.id
    }),
  )
  const app = newWorld().app([code], {
    concurrency,
    openLedger: async () => {
      const ledger = counting(store.open(), asked)
      return { ...ledger, ...change(ledger) }
    },
  })
  await (await app.start('gated', false, { id: 'first' })).result()
  await app.idle()
  asked.clear()
  const start = (id: string, waits = false) => app.start<boolean, string>('gated', waits, { id })
  return { store, asked, app, began, start, open: gate.resolve }
}

test('a run that is begun here while there is a place for it is claimed with its first records', async () => {
  const { asked, app, start, store } = await driving()
  const results = await Promise.all(['a', 'b', 'c'].map(async (id) => (await start(id)).result()))
  expect([results, asked.get('claim')]).toEqual([['a', 'b', 'c'], undefined])
  await app.idle()
  await app.close()
  const rest = await store.open().runs({ tenant: 'local' })
  expect(rest.map(({ status }) => status)).toEqual(['done', 'done', 'done', 'done'])
})

test('beyond the places runs wait for their turn, and others may have them', async () => {
  const { asked, app, began, start, open, store } = await driving(undefined, 2)
  const handles = [await start('a', true), await start('b', true), await start('c'), await start('d')]
  await expect.poll(() => began.toSorted()).toEqual(['a', 'b', 'first'])
  const ready = await store.open().ready({ now: Date.now(), limit: 10 })
  expect(ready.map(({ ref: { stream } }) => stream)).toEqual(['run/c', 'run/d'])
  expect(asked.get('claim')).toBeUndefined()
  open()
  expect(await Promise.all(handles.map((handle) => handle.result()))).toEqual(['a', 'b', 'c', 'd'])
  expect(asked.get('claim')).toBe(2)
  await app.close()
})

test('what is begun for later, or for a worker whose lease has passed, is claimed when it is due', async () => {
  const lapsed = { now: false }
  const { asked, app, start } = await driving((ledger) => ({
    begin: async (first, worker, options) =>
      await (ledger.begin as NonNullable<Ledger['begin']>)(first, lapsed.now ? 'nobody' : worker, options),
  }))
  const later = await app.start<boolean, string>('gated', false, { id: 'later', notBefore: Date.now() + 30 })
  expect(await later.result()).toBe('later')
  expect(asked.get('claim')).toBe(1)
  lapsed.now = true
  expect(await (await start('b')).result()).toBe('b')
  expect(asked.get('claim')).toBe(2)
  await app.close()
})

test('a run that cannot be begun leaves its place to others', async () => {
  const full = { now: true }
  const { app, start, open } = await driving(
    (ledger) => ({
      begin: async (...args) => {
        if (full.now) throw new ConvokeError('LEDGER_FULL', 'the disk is full')
        return await (ledger.begin as NonNullable<Ledger['begin']>)(...args)
      },
    }),
    1,
  )
  await expect(start('a')).rejects.toMatchObject({ code: 'LEDGER_FULL' })
  full.now = false
  const b = await start('b')
  expect(await b.result()).toBe('b')
  // The same id again finds the run that is there, and takes no place.
  expect(await (await start('b')).result()).toBe('b')
  expect(await (await start('c')).result()).toBe('c')
  open()
  await app.close()
})
