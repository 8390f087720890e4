import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'

// A ledger that is open in the caller's thread, and whose own cannot be started or ends: on a copy of the built package
// (a test run builds it first), whose file of the thread is another.

const built = join(import.meta.dirname, '../../dist')
const copy = mkdtempSync(join(tmpdir(), 'convoke-thread-'))
afterAll(() => rmSync(copy, { recursive: true, force: true }))
beforeAll(() => {
  expect(existsSync(join(built, 'sqlite.js')), 'npm run build').toBe(true)
  writeFileSync(join(copy, 'package.json'), '{ "type": "module" }')
  symlinkSync(join(import.meta.dirname, '../../../../node_modules'), join(copy, 'node_modules'))
  cpSync(built, join(copy, 'dist'), { recursive: true, filter: (path) => !path.endsWith('.d.ts') })
})

/** What a program says that does this with a `ledger` on a new store; it has to end by itself. */
function said(body: string): unknown {
  const program = `
    import { openSqliteLedger } from ${JSON.stringify(join(copy, 'dist/sqlite.js'))}
    const codeOf = (act) => act.then(() => 'ok', (error) => error.code)
    const message = (id) => ({ id, type: 'signal', at: 1, actor: { kind: 'system', id: 'x' }, payload: null })
    const inbox = { tenant: 'acme', stream: 'inbox/a' }
    const open = () => openSqliteLedger({ dir: ${JSON.stringify(mkdtempSync(join(copy, 'store-')))} })
    ${body}`
  const { NODE_OPTIONS: _, ...env } = process.env
  return JSON.parse(
    execFileSync(process.execPath, ['--input-type=module', '-e', program], { env, encoding: 'utf8', timeout: 60_000 }),
  )
}

it('is refused at opening when the file of the thread is missing', () => {
  rmSync(join(copy, 'dist/worker.js'))
  expect(said(`console.log(JSON.stringify(await codeOf(open())))`)).toBe('STORE_UNUSABLE')
})

it.each([
  ['a call that needs it', `codeOf(ledger.heads('acme'))`],
  [
    'one that follows the records',
    `codeOf(ledger.watch('acme')[Symbol.asyncIterator]().next().then(() => { throw { code: 'ended' } }))`,
  ],
])('ends with LEDGER_IO, or with its iterators, when the thread dies before it is up: %s', (_, call) => {
  writeFileSync(join(copy, 'dist/worker.js'), `throw new Error('gone')`)
  const body = `
    const ledger = await open()
    const before = await codeOf(ledger.post(inbox, message('a')))
    const needs = await ${call}
    const after = await codeOf(ledger.post(inbox, message('b')))
    await ledger.close()
    console.log(JSON.stringify([before, needs, after]))`
  expect(said(body)).toEqual(['ok', call.includes('watch') ? 'ended' : 'LEDGER_IO', 'LEDGER_CLOSED'])
})

it('takes leases with it', () => {
  writeFileSync(join(copy, 'dist/worker.js'), `throw new Error('gone')`)
  const body = `
    const ledger = await open()
    const lease = await ledger.register('w1')
    const held = lease.remaining() > 0
    while (lease.remaining() > 0) await new Promise((resolve) => setTimeout(resolve, 5))
    const again = await codeOf(ledger.register('w2'))
    await ledger.close()
    const next = await open()
    const alive = await next.isAlive('w1')
    await next.close()
    console.log(JSON.stringify([held, again, alive]))`
  expect(said(body)).toEqual([true, 'LEDGER_CLOSED', false])
})
