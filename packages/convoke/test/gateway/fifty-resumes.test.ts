import { spawn, type ChildProcess } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, expect, test } from 'vitest'
import { held, payingCode } from './resumer.ts'
import { world, type World } from './world.ts'

// R1, R10: fifty resumes of one approval, from five processes at once, are one continuation.

const processes = 5
const each = 10
const children: ChildProcess[] = []
let w: World | undefined
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
  await w?.close()
})

interface Resumer {
  readonly ready: Promise<string>
  readonly ends: Promise<readonly string[]>
  go(): void
}

function resumer(dir: string, run: string): Resumer {
  const program = join(import.meta.dirname, 'resumer.ts')
  const child = spawn(process.execPath, ['--conditions=convoke-source', program, dir, run, String(each)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  children.push(child)
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const line = async (): Promise<string> => {
    const next = await lines.next()
    if (next.done === true) throw new Error('a resumer ended before it answered')
    return next.value
  }
  const ready = line()
  return {
    ready,
    ends: ready.then(line).then((text) => JSON.parse(text) as string[]),
    go: () => child.stdin.end(),
  }
}

test('fifty resumes at once of one approval: one continuation, one effect', { timeout: 120_000 }, async () => {
  w = await world({ policy: held })
  const code = payingCode(w.dir)
  expect((await w.run(code, { id: 'one' })).result).toBe('parked')
  const [row] = await w.pending('one')
  await w.decide(row!.id, { decision: 'approved' })
  const all = Array.from({ length: processes }, () => resumer((w as World).dir, 'one'))
  await Promise.all(all.map((one) => one.ready))
  for (const one of all) one.go()
  const ends = (await Promise.all(all.map((one) => one.ends))).flat()
  expect(ends).toHaveLength(processes * each)
  // Whoever was shut out in the middle lost nothing: the next goes on from the records.
  await w.go(code, 'one')
  const records = await w.records('one')
  const count = (type: string): number => records.filter((e) => e.record.type === type).length
  expect([count('tool.dispatched'), count('run.completed'), count('approval.decided')]).toEqual([1, 1, 1])
  expect(existsSync(join(w.dir, 'paid.txt')) && readFileSync(join(w.dir, 'paid.txt'), 'utf8')).toBe('5.00\n')
})
