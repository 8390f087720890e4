/** Commands that look and decide: what they print, for people and for programs. */
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { appFile, json, place, type Done, type Place } from './support/cli.ts'

vi.setConfig({ testTimeout: 180_000, hookTimeout: 120_000 })

let at: Place
beforeAll(async () => {
  at = place()
  await at.cli(['run', 'hello', '--id', 'r_hello'])
  await at.cli(['run', 'payment', '--id', 'r_pay', '--input', '{"number": "INV-1", "amount": "100.00"}'])
})
afterAll(() => at.remove())

describe('help', () => {
  test.each([
    ['--help'],
    ['run --help'],
    ['resume --help'],
    ['fork --help'],
    ['why --help'],
    ['approvals --help'],
    ['approvals correct --help'],
    ['audit verify --help'],
    ['audit export --help'],
    ['mcp --help'],
    ['mcp ls --help'],
    ['mcp accept --help'],
  ])('convoke %s', async (args) => {
    const done = await at.cli(args.split(' '), { env: { COLUMNS: '100' } })
    expect(done).toMatchObject({ code: 0, err: '' })
    expect(done.out).toMatchSnapshot()
  })
})

test.each([['--help'], ['runs'], ['audit verify -o json']])('%s into a pipe that nobody reads', async (args) => {
  const started = at.start(args.split(' '))
  started.child.stdout?.destroy()
  expect(await started.done).toMatchObject({ code: 0, err: expect.not.stringContaining('EPIPE') as string })
})

test('convoke help fork is convoke fork --help', async () => {
  const [help, option] = [await at.cli(['help', 'fork']), await at.cli(['fork', '--help'])]
  expect(help).toEqual(option)
  expect(await at.cli(['help'])).toMatchObject({ code: 0, err: '' })
})

describe('convoke runs', () => {
  test('a table, newest first', async () => {
    const done = await at.cli(['runs'])
    expect(done).toMatchObject({ code: 0, err: '' })
    const lines = done.out.trimEnd().split('\n')
    expect(lines[0]).toMatch(/^RUN +WORKFLOW +STATUS +STARTED +TOOK$/)
    expect(lines[1]).toMatch(/^r_pay +payment@1 +waits: person +\d+ (s|min) ago$/)
    expect(lines[2]).toMatch(/^r_hello +hello@1 +done +\d+ (s|min) ago +\d.*(ms|s)$/)
    expect(done.out).not.toContain('\u001b')
  })

  test('filters, as data', async () => {
    const done = await at.cli(['runs', '--status', 'done', '--workflow', 'hello', '-o', 'json'])
    expect(json(done.out)).toMatchObject([{ run: 'r_hello' }])
    expect((await at.cli(['runs', '--status', 'failed', '-o', 'jsonl'])).out).toBe('')
    expect((await at.cli(['runs', '--tenant', 'other', '-o', 'json'])).out).toBe('[]\n')
  })
})

describe('convoke show and why', () => {
  test('a run is found by the end of its id', async () => {
    const done = await at.cli(['show', 'hello'])
    expect(done.code).toBe(0)
    expect(done.out).toMatch(/^r_hello {2}hello@1 · done · /)
    expect(done.out).toMatch(/✓ greet .* hello: world/)
  })

  test('a run that waits: for whom, and the next command', async () => {
    const done = await at.cli(['show', 'r_pay'])
    expect(done).toMatchObject({ code: 0 })
    expect(done.out).toMatch(/waits for {2}ap_\w+ {2}erp\.pay INV-1 {2}\(finance\)/)
    expect(done.err).toMatch(/next: convoke approvals approve ap_\w+/)
  })

  test('why as text and as data', async () => {
    const text = await at.cli(['why', 'r_hello'])
    expect(text).toMatchObject({ code: 0, err: '' })
    expect(text.out).toMatch(/Decided\n {2}hello {2}world\n\nBecause\n {2}1 {2}greet/)
    const data = json((await at.cli(['why', 'r_hello', 'greet', '-o', 'json'])).out)
    expect(data).toMatchObject({ run: 'r_hello', about: { path: 'greet' }, chain: [{ path: 'greet' }] })
  })
})

describe('convoke fork', () => {
  test('prints the new id, what is executed again, and the next command; the original stays as it is', async () => {
    const before = (await at.cli(['show', 'r_pay', '-o', 'json'])).out
    const done = await at.cli(['fork', 'r_pay', '--at', 'check', '--set', 'check:/amount="90.00"', '--id', 'r_fork'])
    expect(done).toMatchObject({ code: 0, out: 'r_fork\n' })
    expect(done.err).toContain('shares r_pay up to record')
    expect(done.err).toContain('next: convoke resume r_fork')
    const shown = json((await at.cli(['show', 'r_fork', '-o', 'json'])).out)
    expect(shown).toMatchObject({ fork: { run: 'r_pay', reuse: 'before', effects: 'hold' } })
    const after = json((await at.cli(['show', 'r_pay', '-o', 'json'])).out) as { records: number }
    expect(after.records).toBe((json(before) as { records: number }).records)

    expect(await at.cli(['resume', 'r_fork'])).toMatchObject({ code: 3 })
    const why = await at.cli(['why', 'r_fork'])
    expect(why.out).toMatch(/replaced by \S+: \/amount {2}was 100\.00, now 90\.00/)
  })
})

describe('convoke fork: what is executed again', () => {
  const fork = (...more: string[]): Promise<Done> =>
    at.cli(['fork', 'r_read', '--at', 'read', ...more, '--app', appFile])

  beforeAll(async () => void (await at.cli(['run', 'reading', '--id', 'r_read', '--input', '"7.00 EUR"'])))

  test('is foretold by how much is reused, and told once it has happened', async () => {
    const all = json((await fork('--id', 'r_all', '-o', 'json')).out)
    expect(all).toMatchObject({ again: ['double', 'length', 'today'], compared: [], next: 'convoke resume r_all' })

    const set = ['--set', 'reader:/total="8.00"', '--reuse', 'unchanged', '--id', 'r_some']
    const foretold = await fork(...set)
    expect(foretold.err).toContain('executed again: today\n')
    expect(foretold.err).toContain('kept if nothing changed for it, else executed again: double, length\n')
    const done = await at.cli(['resume', 'r_some'])
    expect(done).toMatchObject({ code: 0 })
    expect(done.err).toContain('executed again: double, today\nkept of the original: length\n')
    expect(json((await at.cli(['show', 'r_some', '-o', 'json'])).out)).toMatchObject({
      result: '16 9 monday',
      fork: { again: ['double', 'today'], kept: ['length'] },
    })
  })

  test('INPUT_INVALID for a correction that does not fit the role’s output: which field, and why', async () => {
    const wrong = await fork('--set', 'reader:/total=8', '-o', 'json')
    expect(wrong).toMatchObject({ code: 2, out: '' })
    expect(json(wrong.err)).toMatchObject({
      error: { code: 'INPUT_INVALID', details: { step: 'reader', issues: [{ pointer: '/total' }] } },
    })
    for (const use of ['reader=9', 'raeder=1'])
      expect((await fork('--use', use)).err).toMatch(/^ROLE_UNFILLED[^]*next {5}use one of: reader/)
    expect(await fork('--use', 'reader=reader@1')).toMatchObject({ code: 0 })
    const typo = await fork('--set', 'reader:/totla="8.00"')
    expect(typo.err).toMatch(/INPUT_INVALID .*role reader: \/totla: the schema knows no such field/)
  })
})

describe('convoke audit', () => {
  test('export makes a key once, and verify holds the store against it', async () => {
    const first = await at.cli(['audit', 'export', '--out', 'checkpoint.json'])
    expect(first.code).toBe(0)
    expect(first.err).toMatch(/made the signing key .*audit\.key/)
    const keyFile = join(at.dir, '.convoke', 'audit.key')
    expect(statSync(keyFile).mode & 0o777).toBe(0o600)
    const publicKey = /public key {2}(\S+)/.exec(first.err)![1]!
    const again = await at.cli(['audit', 'export'])
    expect(json(again.out)).toMatchObject({ kind: 'convoke-checkpoint', tenant: 'local', publicKey })
    expect(again.err).not.toContain('made the signing key')

    const itself = await at.cli(['audit', 'verify', '--against', 'checkpoint.json'])
    expect(itself.code).toBe(0)
    expect(itself.out).toMatch(/^sound {2}\d+ records in \d+ streams/)
    expect(itself.err).toContain('vouches for itself')
    const known = await at.cli(['audit', 'verify', '--against', 'checkpoint.json', '--public-key', publicKey])
    expect(known).toMatchObject({ code: 0, err: '' })
    expect(existsSync(join(at.dir, 'checkpoint.json'))).toBe(true)
  })

  test('AUDIT_FAILED: what was changed and where, as text and as data', async () => {
    await at.cli(['run', 'hello', '--id', 'r_x', '--store', 'changed'])
    await at.cli(['audit', 'export', '--store', 'changed', '--out', 'changed.json'])
    const db = new DatabaseSync(join(at.dir, 'changed', 'ledger.db'))
    db.exec(`UPDATE records SET payload = replace(payload, 'world', 'moon!') WHERE payload LIKE '%world%'`)
    db.close()
    const done = await at.cli(['audit', 'verify', '--store', 'changed', '--against', 'changed.json'])
    expect(done.code).toBe(1)
    expect(done.out).toMatch(/not sound[^]*run\/r_x@\d+ +broken/)
    expect(done.err).toContain('AUDIT_FAILED')
    const data = json((await at.cli(['audit', 'verify', '--store', 'changed', '-o', 'json'])).out)
    expect(data).toMatchObject({ tenant: 'local' })
    expect((data as { findings: { stream: string }[] }).findings[0]!.stream).toBe('run/r_x')

    const refused = await at.cli(['audit', 'export', '--store', 'changed', '--out', 'again.json'])
    expect(refused).toMatchObject({ code: 1, out: '' })
    expect(refused.err).toMatch(/AUDIT_FAILED .*run\/r_x@\d+/)
    expect(existsSync(join(at.dir, 'again.json'))).toBe(false)
  })

  test('one run in one file, which is proved where there is no store', async () => {
    const made = await at.cli(['audit', 'export', 'r_pay', '--out', 'r_1.json', '-o', 'json'])
    expect(made.code).toBe(0)
    expect(json(made.out)).toMatchObject({ run: 'r_pay', left: { blobs: [], runs: [] } })
    expect(statSync(join(at.dir, 'r_1.json')).mode & 0o777).toBe(0o600)
    const publicKey = /public key {2}(\S+)/.exec(made.err)![1]!
    const elsewhere = join(at.dir, 'elsewhere')
    mkdirSync(elsewhere)
    const verify = (...more: string[]) => at.cli(['audit', 'verify', '../r_1.json', ...more], { cwd: elsewhere })
    const sound = await verify('--public-key', publicKey)
    expect(sound).toMatchObject({ code: 0, err: '' })
    expect(sound.out).toMatch(/^sound {2}\d+ records[^]*payment@1[^]*asked of finance: pending/)
    expect((await verify()).err).toContain('the file vouches for itself')
    await at.cli(['audit', 'export', '--out', 'all.json'])
    expect(await verify('--public-key', publicKey, '--against', '../all.json')).toMatchObject({ code: 0 })
    expect(existsSync(join(elsewhere, '.convoke'))).toBe(false)

    const text = readFileSync(join(at.dir, 'r_1.json'), 'utf8')
    writeFileSync(join(at.dir, 'r_1.json'), text.replace('"INV-1"', '"INV-2"'))
    const changed = await verify('--public-key', publicKey)
    expect(changed).toMatchObject({ code: 1 })
    expect(changed.out).toMatch(/^not sound[^]*the file +checkpoint/)
    expect(changed.err).toContain('AUDIT_FAILED')
    writeFileSync(join(at.dir, 'r_1.json'), text.slice(0, -200))
    expect((await verify()).err).toContain('JSON_INVALID')
    expect((await at.cli(['audit', 'export', 'r_none'])).err).toContain('RUN_UNKNOWN')
    expect((await at.cli(['audit', 'export', '--max-blob', '5'])).err).toContain('USAGE')
  })

  test('INPUT_INVALID for a checkpoint that is none', async () => {
    const done = await at.cli(['audit', 'verify', '--against', 'none.json'])
    expect(done).toMatchObject({ code: 2, out: '' })
    expect(done.err).toContain('INPUT_INVALID')
  })
})

describe('convoke doctor', () => {
  test('looks at everything, and writes nothing', async () => {
    const done = await at.cli(['doctor', '--store', 'fresh', '-o', 'json'])
    expect(done.code).toBe(0)
    expect(json(done.out)).toMatchObject({ ok: true })
    const names = (json(done.out) as { checks: { name: string }[] }).checks.map((c) => c.name)
    expect(names).toEqual(['node', 'sqlite', 'config', 'store', 'disk'])
    expect(existsSync(join(at.dir, 'fresh'))).toBe(false)
  })

  test('says what waits and what works', async () => {
    const done = await at.cli(['doctor'])
    expect(done.code).toBe(0)
    expect(done.out).toMatch(/✓ store +.*format 1/)
    expect(done.out).toMatch(/✓ sync +full/)
    expect(done.out).toMatch(/✓ workers +none/)
    expect(done.out).toMatch(/people +\d waiting for a decision/)
  })
})

test('the version is the package’s own', async () => {
  const { version } = JSON.parse(readFileSync(join(import.meta.dirname, '..', 'package.json'), 'utf8')) as {
    version: string
  }
  expect(await at.cli(['--version'])).toMatchObject({ code: 0, out: `${version}\n` })
})
