import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { ActingRun } from '../durable/act.ts'
import { begin, flow, goOn, newWorld, recordOf, type Recorded } from '../durable/world.ts'

// A ledger of the unchanged workflow, cut at every record, meets mutants of the workflow. Where a mutant contradicts a
// record it is stopped before anything new happens; where it does not, it goes on and repeats nothing. Effects and
// bodies are counted in a file.

let folder = ''
let file = ''
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const note = (line: string): string => (appendFileSync(file, `${line}\n`), line)
const noted = (): string[] =>
  readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '')

interface Parts {
  first(run: ActingRun): Promise<{ ok: boolean; n: number }>
  both(run: ActingRun, n: number): Promise<unknown>
  each(run: ActingRun): Promise<string[]>
  ship(run: ActingRun, n: number): Promise<unknown>
  total(run: ActingRun, both: unknown): Promise<{ sum: number }>
  mail(run: ActingRun, total: unknown): Promise<unknown>
  code(run: ActingRun, parts: Parts): Promise<unknown>
}

const step = (run: ActingRun, name: string, input: unknown, value: unknown = name): Promise<unknown> =>
  run.step(name, { input }, () => (note(`${name} body`), value))
const act = (run: ActingRun, name: string, input: unknown): Promise<unknown> =>
  run.act(name, { input, do: ({ path }) => note(`effect ${path}`) })

const unchanged: Parts = {
  first: async (run) => (await step(run, 'first', { order: 7 }, { ok: true, n: 7 })) as { ok: boolean; n: number },
  both: (run, n) =>
    run.all('both', {
      x: async (r) => [await step(r, 's', { n }), await act(r, 'pay', { n })],
      y: async (r) => [await step(r, 's', { n }), await step(r, 't', { n })],
    }),
  each: (run) =>
    run.map(
      'each',
      ['k1', 'k2'],
      { key: (k) => k, concurrency: 1 },
      async (r, k) => (await step(r, 's', { k })) as string,
    ),
  ship: (run, n) => act(run, 'ship', { n }),
  total: async (run, both) => (await step(run, 'total', { both }, { sum: 3 })) as { sum: number },
  mail: (run, total) => act(run, 'mail', { total }),
  async code(run, parts) {
    const { ok, n } = await parts.first(run)
    const both = await parts.both(run, n)
    const each = await parts.each(run)
    if (ok) await parts.ship(run, n)
    const total = await parts.total(run, both)
    const mailed = await parts.mail(run, total)
    return { n, each, total, mailed }
  },
}

const long = process.env['CONVOKE_TEST_LONG'] === '1'
let calls = 0
interface Mutant extends Partial<Parts> {
  readonly name: string
  /** The first recorded step that it contradicts. */
  readonly contradicts?: string
  /** Why it cannot do harm although it is never stopped. */
  readonly harmless?: string
}

const mutants: readonly Mutant[] = [
  {
    name: 'reordered: branches before the first step',
    contradicts: 'first',
    code: async (run, p) => (await p.both(run, 7), unchanged.code(run, p)),
  },
  {
    name: 'reordered: two steps of a branch',
    contradicts: 'both/y/s',
    both: (run, n) =>
      run.all('both', {
        x: async (r) => [await step(r, 's', { n }), await act(r, 'pay', { n })],
        y: async (r) => [await step(r, 't', { n }), await step(r, 's', { n })],
      }),
  },
  {
    name: 'reordered: mail before total',
    contradicts: 'total',
    code: async (run, p) => {
      const { n } = await p.first(run)
      const both = await p.both(run, n)
      await p.each(run)
      await p.ship(run, n)
      await p.mail(run, { sum: 3 })
      return p.total(run, both)
    },
  },
  {
    name: 'renamed: a step',
    contradicts: 'total',
    total: async (run, both) => (await step(run, 'sum', { both }, { sum: 3 })) as { sum: number },
  },
  {
    name: 'renamed: a branch',
    contradicts: 'both/x/s',
    both: (run, n) =>
      run.all('both', {
        z: async (r) => [await step(r, 's', { n }), await act(r, 'pay', { n })],
        y: async (r) => [await step(r, 's', { n }), await step(r, 't', { n })],
      }),
  },
  {
    name: 'renamed: the keys of a map',
    contradicts: 'each/k1/s',
    each: (run) =>
      run.map('each', ['k1', 'k2'], { key: (k) => `item ${k}` }, async (r, k) => (await step(r, 's', { k })) as string),
  },
  {
    name: 'inserted: a step at the beginning',
    contradicts: 'first',
    first: async (run) => (await step(run, 'zeroth', {}), unchanged.first(run)),
  },
  {
    name: 'inserted: an effect between two steps',
    contradicts: 'ship',
    ship: async (run, n) => (await act(run, 'extra', { n }), unchanged.ship(run, n)),
  },
  {
    name: 'inserted: an effect into a branch',
    contradicts: 'both/y/t',
    both: (run, n) =>
      run.all('both', {
        x: async (r) => [await step(r, 's', { n }), await act(r, 'pay', { n })],
        y: async (r) => [await step(r, 's', { n }), await act(r, 'extra', { n }), await step(r, 't', { n })],
      }),
  },
  { name: 'dropped: the first step', contradicts: 'first', first: async () => ({ ok: true, n: 7 }) },
  {
    name: 'dropped: the last step of a branch',
    contradicts: 'both/y/t',
    both: (run, n) =>
      run.all('both', {
        x: async (r) => [await step(r, 's', { n }), await act(r, 'pay', { n })],
        y: async (r) => [await step(r, 's', { n })],
      }),
  },
  { name: 'dropped: an effect', contradicts: 'ship', ship: async () => 'not shipped' },
  {
    name: 'dropped: a whole branch',
    contradicts: 'both/x/s',
    both: (run, n) => run.all('both', { y: async (r) => [await step(r, 's', { n }), await step(r, 't', { n })] }),
  },
  {
    name: 'clock: in an argument',
    contradicts: 'total',
    total: async (run, both) => (await step(run, 'total', { both, at: Date.now() }, { sum: 3 })) as { sum: number },
  },
  {
    name: 'clock: in a decision',
    contradicts: 'ship',
    ship: async (run, n) => (Date.now() < 0 ? unchanged.ship(run, n) : 'too late'),
  },
  {
    name: 'random: in an argument of an effect',
    contradicts: 'mail',
    mail: (run, total) => act(run, 'mail', { total, nonce: Math.random() }),
  },
  {
    name: 'random: in a name',
    contradicts: 'total',
    total: async (run, both) => (await step(run, `total ${Math.random()}`, { both }, { sum: 3 })) as { sum: number },
  },
  {
    name: 'state of the process: in a name',
    contradicts: 'ship',
    ship: (run, n) => act(run, `ship ${++calls}`, { n }),
  },
  {
    name: 'missing await: the promise is passed on',
    contradicts: 'total',
    code: async (run, p) => {
      const { n } = await p.first(run)
      const both = await p.both(run, n)
      await p.each(run)
      await p.ship(run, n)
      const total = p.total(run, both)
      return p.mail(run, total)
    },
  },
  {
    name: 'missing await: of the branches',
    contradicts: 'both/x/s',
    code: async (run, p) => {
      const { n } = await p.first(run)
      void p.both(run, n).catch(() => undefined)
      throw new Error('went on')
    },
  },
  {
    name: 'changed arguments: of the first step',
    contradicts: 'first',
    first: async (run) => (await step(run, 'first', { order: 8 }, { ok: true, n: 7 })) as { ok: boolean; n: number },
  },
  {
    name: 'changed arguments: of an effect',
    contradicts: 'mail',
    mail: (run, total) => act(run, 'mail', { total, to: 'somebody else' }),
  },
  {
    name: 'changed version of a step',
    contradicts: 'total',
    total: (run, both) => run.step('total', { input: { both }, version: '2' }, () => (note('total body'), { sum: 3 })),
  },
  { name: 'an effect became a step', contradicts: 'ship', ship: (run, n) => step(run, 'ship', { n }) },
  {
    name: 'catches everything and goes on',
    contradicts: 'ship',
    ship: async (run) => act(run, 'ship', new Date(0)).catch(() => 'swallowed'),
  },

  {
    name: 'inserted: a step after everything',
    harmless: 'nothing recorded comes after it, so the newer code adopts the run',
    code: async (run, p) => {
      const result = await unchanged.code(run, p)
      await step(run, 'afterwards', {})
      return result
    },
  },
  {
    name: 'missing await: of an effect whose result nobody uses',
    harmless: 'it asks for the same in the same order; STEP_UNAWAITED tells at the end',
    code: async (run, p) => {
      const { n } = await p.first(run)
      const both = await p.both(run, n)
      await p.each(run)
      void p.ship(run, n)
      const total = await p.total(run, both)
      return p.mail(run, total)
    },
  },
  {
    name: 'two steps at once that were one after the other',
    harmless: 'the same steps with the same arguments, only asked for earlier',
    code: async (run, p) => {
      const { n } = await p.first(run)
      const both = await p.both(run, n)
      await p.each(run)
      const [total] = await Promise.all([p.total(run, both), p.ship(run, n)])
      return p.mail(run, total)
    },
  },
  {
    name: 'a map with more room',
    harmless: 'items are known by key, whenever they come',
    each: (run) =>
      run.map(
        'each',
        ['k1', 'k2'],
        { key: (k) => k, concurrency: 8 },
        async (r, k) => (await step(r, 's', { k })) as string,
      ),
  },
  {
    name: 'items of a map in another order, all at once',
    harmless: 'items are known by key, wherever they stand',
    each: (run) =>
      run.map(
        'each',
        ['k2', 'k1'],
        { key: (k) => k, concurrency: 8 },
        async (r, k) => (await step(r, 's', { k })) as string,
      ),
  },
  {
    name: 'the body of a step',
    harmless: 'a finished body does not run again',
    first: async (run) =>
      (await run.step('first', { input: { order: 7 } }, () => (note('first body'), { ok: true, n: 7, new: true }))) as {
        ok: boolean
        n: number
      },
  },
  {
    name: 'retries and time-outs',
    harmless: 'they say how to try, not what',
    first: async (run) =>
      (await run.step(
        'first',
        { input: { order: 7 }, retry: { times: 3 }, timeout: 9_000 },
        () => (note('first body'), { ok: true, n: 7 }),
      )) as { ok: boolean; n: number },
  },
  {
    name: 'clock: only in the result',
    harmless: 'nothing is done with it; what a dry replay of an ended run finds',
    code: async (run, p) => ({ ...((await unchanged.code(run, p)) as object), at: Date.now() }),
  },
]

function workflowOf(mutant: Partial<Parts> & { readonly name?: string }): ReturnType<typeof flow> {
  const parts: Parts = { ...unchanged, ...mutant }
  return flow('order', (run) => parts.code(run, parts), mutant.name ?? '')
}

let recorded: Recorded
let result: unknown
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'convoke-mutants-'))
  file = join(folder, 'effects')
  writeFileSync(file, '')
  const app = newWorld().app([workflowOf({})])
  result = await (await begin(app, 'order', null)).result()
  recorded = await recordOf(app)
})

/** Bodies and effects whose records the first `cut` ones hold. */
function known(cut: number): Set<string> {
  const paths = recorded.entries
    .slice(0, cut)
    .filter((e) => e.record.type === 'step.completed')
    .map((e) => e.record.path)
  return new Set(paths.map((path) => `effect ${String(path)}`))
}

test('there are at least twenty that must be stopped', () => {
  expect(mutants.filter((m) => m.contradicts !== undefined).length).toBeGreaterThanOrEqual(20)
  expect(result).toMatchObject({ n: 7, mailed: 'effect mail' })
})

test.each(mutants.filter((m) => m.contradicts !== undefined))(
  'R3 R8: stopped before any new effect: $name (WORKFLOW_CHANGED)',
  async (mutant) => {
    const first = recorded.entries.findIndex((e) => e.record.path === mutant.contradicts)
    expect(first).toBeGreaterThan(1)
    const cuts = recorded.entries.map((_, i) => i).slice(2)
    const some = new Set([first + 1, Math.ceil((first + cuts.length) / 2) + 1, cuts.length + 1])
    // A stop takes half a second: code that awaits something of its own may only be late.
    for (const cut of cuts.filter((at) => long || at <= first || some.has(at))) {
      writeFileSync(file, '')
      const again = await goOn(recorded, cut, [workflowOf(mutant)])
      const row = await again.handle.settled()
      if (cut > first) {
        expect([cut, row.status, row.error]).toEqual([cut, 'stopped', 'WORKFLOW_CHANGED'])
        expect(noted()).toEqual([])
      } else {
        // Nothing recorded contradicts it: it is the newer code's run from here on, and nothing is done twice.
        expect(row.status).not.toBe('stopped')
        expect(noted().filter((line) => known(cut).has(line))).toEqual([])
      }
      await again.app.close()
    }
  },
)

test.each(mutants.filter((m) => m.harmless !== undefined))(
  'R3: harmless by construction: $name: $harmless',
  async (mutant) => {
    for (let cut = 2; cut < recorded.entries.length; cut++) {
      writeFileSync(file, '')
      const again = await goOn(recorded, cut, [workflowOf(mutant)])
      const row = await again.handle.settled()
      expect(row.status).not.toBe('stopped')
      expect(noted().filter((line) => known(cut).has(line))).toEqual([])
      const effects = noted().filter((line) => line.startsWith('effect'))
      expect(new Set(effects).size).toBe(effects.length)
      expect([...effects, ...known(cut)].filter((line) => /pay|ship|mail/.test(line)).length).toBeGreaterThanOrEqual(3)
      await again.app.close()
    }
  },
)

test('R3: a thousand replays of unchanged code with concurrent branches and equal names raise no alarm', async () => {
  let seed = 1
  const pause = (): Promise<void> =>
    new Promise((resolve) => setTimeout(resolve, (seed = (seed * 16807) % 2_147_483_647) % 5))
  const concurrent = flow('concurrent', async (run) => {
    const branch = async (r: ActingRun): Promise<unknown> => {
      const one = await r.step('s', pause)
      const two = await r.step('s', { input: [r.random(), r.now()] }, pause)
      return r.map('s', ['s', 's2', 's3'], { key: (k) => k }, async (m) => [one, two, await m.step('s', pause)].length)
    }
    const { winner } = await run.race('s', { s: branch, s2: branch })
    const soft = await run.mapSettled('s', [1, 2, 3], { key: String }, (r, n) =>
      r.step('s', async () => {
        await pause()
        if (n === 2) throw new Error('two')
      }),
    )
    const tried = await run.attempt('s', {
      s: async (r) => (await r.step('s', pause), Promise.reject(new Error('no'))),
      s2: branch,
    })
    return [winner, soft.map((s) => s.status), tried, await run.all('s', { s: branch, s2: branch })]
  })
  let replays = 0
  while (replays < 1_000) {
    const app = newWorld().app([concurrent])
    await (await begin(app, 'concurrent', null)).result()
    const its = await recordOf(app)
    await app.close()
    for (let cut = 2; cut < its.entries.length && replays < 1_000; cut++, replays++) {
      const again = await goOn(its, cut, [concurrent])
      const row = await again.handle.settled()
      expect([cut, row.status, row.error]).toEqual([cut, 'done', undefined])
      await again.app.close()
    }
  }
}, 180_000)
