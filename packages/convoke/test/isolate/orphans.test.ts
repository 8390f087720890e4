import { spawn } from 'node:child_process'
import { readFileSync, existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'

let dir: string
const started: number[] = []
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'convoke-orphans-'))
})
afterEach(async () => {
  for (const pid of started.splice(0)) if (isThere(pid)) process.kill(pid, 'SIGKILL')
  await rm(dir, { recursive: true, force: true })
})

/** Whether the process runs: one that has ended and was not collected does not. */
function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0)
    const stat = existsSync(`/proc/${pid}/stat`) ? readFileSync(`/proc/${pid}/stat`, 'utf8') : ''
    return !/^\d+ \(.*\) Z/.test(stat)
  } catch {
    return false
  }
}

test('a worker that is killed leaves nothing behind: a tool in a busy loop ends, with what it started', async () => {
  const file = join(dir, 'pids')
  const program = join(import.meta.dirname, 'child.ts')
  const args = ['--conditions=convoke-source', program, join(dir, 'store'), file, 'process']
  const parent = spawn(process.execPath, args, { stdio: 'ignore' })
  started.push(parent.pid!)
  await expect.poll(() => existsSync(file) && readFileSync(file, 'utf8').endsWith(']'), { timeout: 60_000 }).toBe(true)
  const pids = JSON.parse(readFileSync(file, 'utf8')) as [number, number]
  started.push(...pids)
  expect(pids.every(isThere)).toBe(true)
  expect(pids).not.toContain(parent.pid)
  parent.kill('SIGKILL')
  await expect.poll(() => [parent.pid!, ...pids].filter(isThere), { timeout: 30_000 }).toEqual([])
}, 120_000)
