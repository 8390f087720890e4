import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { why } from 'convoke/views'
import { openSqliteLedger } from 'convoke/sqlite'
import { afterEach, beforeEach, expect, test } from 'vitest'

const main = fileURLToPath(new URL('./main.ts', import.meta.url))
let folder = ''
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'convoke-hello-'))))
afterEach(() => rmSync(folder, { recursive: true, force: true }))

function hello(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [main, ...args], { cwd: folder, encoding: 'utf8' })
}

test('prints the reply that three roles made, and the ledger says who did what', async () => {
  const { status, stdout, stderr } = hello()
  expect(stderr).toBe('')
  expect(status).toBe(0)
  const [text, next] = stdout.split('\n')
  expect(text).toBe('Thank you for asking about order 4711. We are on it.')
  const run = /why (r_\S+)/.exec(next ?? '')?.[1] ?? ''

  const ledger = await openSqliteLedger({ dir: join(folder, '.convoke', 'hello') })
  try {
    const { chain, status } = await why(ledger, 'local', run)
    expect(status).toBe('done')
    expect(chain.filter((step) => step.op === 'ask').map((step) => step.by.role)).toEqual(['sorter', 'writer'])
    expect((await why(ledger, 'local', run, 'draft')).chain.map((step) => step.op)).toContain('verify')
  } finally {
    await ledger.close()
  }
})

test('a letter of another kind takes the same way', () => {
  expect(hello('Do you sell bicycles?').stdout).toContain('order unknown')
})
