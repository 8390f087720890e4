import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { scene } from './crash-scene.ts'
import { world } from './world.ts'

const child = new URL('./crash-child.ts', import.meta.url).pathname
const answers = ['104 in stock; 103 in stock; 106 in stock', '103 in stock', '103 in stock']

function runChild(args: string[], env: Record<string, string>): Promise<{ out: string; signal: string | null }> {
  return new Promise((resolve) => {
    const options = { env: { ...process.env, ...env }, timeout: 25_000 }
    const it = execFile(process.execPath, ['--conditions=convoke-source', child, ...args], options, (_, out) =>
      resolve({ out, signal: it.signalCode }),
    )
  })
}

let root: string
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'convoke-asks-'))
})
afterAll(() => rm(root, { recursive: true, force: true }))

/** Each kind of point at its middle occurrence; all of them take minutes (CONVOKE_CRASH_ALL=1). */
async function points(): Promise<string[]> {
  const log = join(root, 'points.log')
  const { out } = await runChild([join(root, 'whole'), join(root, 'whole.book')], { CONVOKE_CRASH_LOG: log })
  expect(JSON.parse(out)).toMatchObject({ status: 'done', value: answers })
  const counts = new Map<string, number>()
  for (const point of (await readFile(log, 'utf8')).trim().split('\n')) counts.set(point, (counts.get(point) ?? 0) + 1)
  return [...counts].flatMap(([point, n]) =>
    process.env['CONVOKE_CRASH_ALL'] === undefined
      ? [`${point}#${Math.ceil(n / 2)}`]
      : Array.from({ length: n }, (_, i) => `${point}#${i + 1}`),
  )
}

describe('R1, R5: an ask that is killed anywhere goes on where its records say', () => {
  test('same answers, every effect once, nothing finished is asked again', async () => {
    const all = await points()
    expect(all.length).toBeGreaterThan(10)
    let kills = 0
    for (const [i, point] of all.entries()) {
      const dir = join(root, String(i))
      const book = `${dir}.book`
      const killed = await runChild([dir, book], { CONVOKE_CRASH_AT: point })
      // Commits are shared by what is ready at the time, so the last occurrences of a point need not come again.
      if (killed.signal === null) expect(JSON.parse(killed.out)).toMatchObject({ status: 'done', value: answers })
      else kills++
      const { cast, code } = scene(book)
      const w = await world(cast, { dir })
      const run = await w.go(code, 'r')
      await w.close()
      expect({ point, status: run.status, value: run.value, error: run.error }).toEqual({
        point,
        status: 'done',
        value: answers,
      })
      const keys = (await readFile(book, 'utf8'))
        .trim()
        .split('\n')
        .map((line) => line.split(' ')[0])
      expect({ point, effects: new Set(keys).size }).toEqual({ point, effects: 5 })
      // Two calls may have been on their way when it was killed; they come again with their own keys.
      expect(keys.length).toBeLessThanOrEqual(7)
      const terminal = run.entries.filter((e) => typeof e.payload['fp'] === 'string').map((e) => e.record.path)
      expect(new Set(terminal).size).toBe(terminal.length)
    }
    expect(kills).toBeGreaterThan(all.length * 0.9)
  }, 900_000)
})
