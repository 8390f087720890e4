/** What people get wrong: each with its code, what is wrong, the next command, and nothing done. */
import { chmodSync, existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { json, place, type Done, type Place } from './support/cli.ts'

vi.setConfig({ testTimeout: 180_000, hookTimeout: 60_000 })

let at: Place
beforeAll(async () => {
  at = place()
  expect(await at.cli(['run', 'hello', '--id', 'r_first'])).toMatchObject({ code: 0 })
})
afterAll(() => at.remove())

/** Code and next command on stderr, nothing on stdout. */
function expectRefused(done: Done, exit: number, code: string, ...says: readonly (string | RegExp)[]): void {
  expect(done).toMatchObject({ code: exit, out: '' })
  expect(done.err).toContain(code)
  expect(done.err).toMatch(/next {5}\S/)
  for (const part of says) expect(done.err).toMatch(part)
  expect(done.err).not.toContain('    at ')
}

describe('convoke run', () => {
  test('WORKFLOW_UNKNOWN names those that there are', async () => {
    expectRefused(await at.cli(['run', 'helo']), 2, 'WORKFLOW_UNKNOWN', '"helo"', /use one of: .*hello.*payment/)
  })

  test('INPUT_INVALID names the field and why', async () => {
    const done = await at.cli(['run', 'payment', '--input', '{"number": 7, "amount": "1.00"}'])
    expectRefused(done, 2, 'INPUT_INVALID', '/number', 'expected string')
  })

  test('INPUT_INVALID for no input at all says how to give one', async () => {
    expectRefused(await at.cli(['run', 'payment']), 2, 'INPUT_INVALID', '--input @FILE')
  })

  test('JSON_INVALID names the place', async () => {
    expectRefused(await at.cli(['run', 'hello', '--input', '{"a": }']), 2, 'JSON_INVALID', 'line 1, column 7')
    expectRefused(await at.cli(['run', 'hello', '--input', '{"a": 1, "a": 2}']), 2, 'JSON_INVALID', 'twice')
  })

  test('INPUT_INVALID for an input file that is not there', async () => {
    expectRefused(await at.cli(['run', 'hello', '--input', '@none.json']), 2, 'INPUT_INVALID', 'none.json')
  })

  test('NAME_INVALID for an id that cannot be one', async () => {
    expectRefused(await at.cli(['run', 'hello', '--id', 'a/b']), 2, 'NAME_INVALID', 'a/b')
  })

  test('RUN_EXISTS for an id that has another input', async () => {
    expectRefused(await at.cli(['run', 'hello', '--id', 'r_first', '--input', '"you"']), 1, 'RUN_EXISTS', 'r_first')
  })

  test('CONFIG_MISSING says what to write', async () => {
    expectRefused(await at.cli(['run', 'hello'], { bare: true }), 2, 'CONFIG_MISSING', 'defineConfig')
    const named = await at.cli(['run', 'hello', '--app', 'none.ts'], { bare: true })
    expectRefused(named, 2, 'CONFIG_MISSING', 'none.ts')
  })

  test('CONFIG_INVALID for a config that throws, with what it threw', async () => {
    writeFileSync(join(at.dir, 'broken.ts'), `throw new Error('no database password')\n`)
    const done = await at.cli(['run', 'hello', '--app', 'broken.ts'], { bare: true })
    expectRefused(done, 2, 'CONFIG_INVALID', 'broken.ts', 'no database password')
  })

  test('CONFIG_INVALID for one that exports no config, or no workflows', async () => {
    writeFileSync(join(at.dir, 'empty.ts'), `export const other = 1\n`)
    const none = await at.cli(['run', 'hello', '--app', 'empty.ts'], { bare: true })
    expectRefused(none, 2, 'CONFIG_INVALID', 'exports no `config`')
    writeFileSync(join(at.dir, 'bare.ts'), `export const config = {}\n`)
    const bare = await at.cli(['run', 'hello', '--app', 'bare.ts'], { bare: true })
    expectRefused(bare, 2, 'CONFIG_INVALID', 'names no workflows')
  })

  test('UNEXPECTED for what the config throws later and gives no code: its stack, and how to go on', async () => {
    writeFileSync(
      join(at.dir, 'later.ts'),
      `export const config = { workflows: {}, store: () => { throw new TypeError('no such host') } }\n`,
    )
    const done = await at.cli(['runs', '--app', 'later.ts'])
    expect(done).toMatchObject({ code: 1, out: '' })
    expect(done.err).toMatch(/^UNEXPECTED {2}TypeError: no such host\n.*later\.ts:1[^]*next {5}\S/)
  })

  test('a config is found upward from the current folder', async () => {
    const inner = join(at.dir, 'up', 'a', 'b')
    mkdirSync(inner, { recursive: true })
    symlinkSync(resolve(import.meta.dirname, '../../../node_modules'), join(at.dir, 'up', 'node_modules'))
    writeFileSync(
      join(at.dir, 'up', 'convoke.config.ts'),
      `import { defineConfig, workflow } from 'convoke'\n` +
        `const up = workflow({ name: 'up' }, async (run) => run.step('one', () => 'found'))\n` +
        `export const config = defineConfig({ workflows: { up } })\n`,
    )
    const done = await at.cli(['run', 'up'], { bare: true, cwd: inner })
    expect(done).toMatchObject({ code: 0, out: '"found"\n' })
    expect(existsSync(join(inner, '.convoke', 'ledger.db'))).toBe(true)

    // What it says of the store holds for commands that need no app, too; also through another file.
    writeFileSync(join(at.dir, 'up', 'options.ts'), `export const store = 'kept'\n`)
    writeFileSync(
      join(at.dir, 'up', 'convoke.config.ts'),
      `import { store as dir } from './options.ts'\nexport const config = { workflows: {}, ['st' + 'ore']: dir }\n`,
    )
    await at.cli(['run', 'hello', '--id', 'r_kept', '--store', join(at.dir, 'up', 'kept')])
    expect((await at.cli(['runs'], { cwd: inner })).out).toContain('r_kept')
  })
})

describe('the store', () => {
  test('STORE_UNUSABLE where none is: reading makes none', async () => {
    const done = await at.cli(['runs', '--store', 'nowhere'])
    expectRefused(done, 2, 'STORE_UNUSABLE', 'there is no store', '--store DIR')
    expect(existsSync(join(at.dir, 'nowhere'))).toBe(false)
  })

  test('STORE_UNUSABLE for an address of a kind that no store is for', async () => {
    const done = await at.cli(['runs'], { env: { CONVOKE_STORE: 'mysql://user:secret@host/db' } })
    expectRefused(done, 2, 'STORE_UNUSABLE', 'mysql://')
    expect(done.err).not.toContain('secret')
  })

  test('STORE_UNUSABLE for a folder that cannot be made', async () => {
    writeFileSync(join(at.dir, 'file'), '')
    const done = await at.cli(['run', 'hello', '--store', 'file/store'])
    expectRefused(done, 2, 'STORE_UNUSABLE', 'cannot hold a store')
  })

  test.skipIf(process.getuid?.() === 0)('STORE_UNUSABLE for a read-only folder', async () => {
    const folder = join(at.dir, 'readonly')
    mkdirSync(folder)
    chmodSync(folder, 0o555)
    expectRefused(await at.cli(['run', 'hello', '--store', folder]), 2, 'STORE_UNUSABLE', folder)
  })

  test('STORE_UNUSABLE for a database of something else', async () => {
    mkdirSync(join(at.dir, 'other'))
    const db = new DatabaseSync(join(at.dir, 'other', 'ledger.db'))
    db.exec('CREATE TABLE songs(name TEXT)')
    db.close()
    expectRefused(await at.cli(['runs', '--store', 'other']), 2, 'STORE_UNUSABLE', 'something else')
  })

  test('STORE_NEWER for one that a newer version wrote', async () => {
    await at.cli(['run', 'hello', '--store', 'newer'])
    const db = new DatabaseSync(join(at.dir, 'newer', 'ledger.db'))
    db.exec(`UPDATE meta SET value = 99 WHERE key = 'format'`)
    db.close()
    expectRefused(await at.cli(['runs', '--store', 'newer']), 2, 'STORE_NEWER', '99')
    const doctor = await at.cli(['doctor', '--store', 'newer'])
    expect(doctor.code).toBe(1)
    expect(doctor.out).toContain('STORE_NEWER')
  })
})

describe('ids that are none', () => {
  test('RUN_UNKNOWN: approvals ls --run', async () => {
    expectRefused(await at.cli(['approvals', 'ls', '--run', 'r_none']), 2, 'RUN_UNKNOWN', 'convoke runs')
  })

  test.each([['show'], ['watch'], ['why'], ['resume'], ['fork']])('RUN_UNKNOWN: %s', async (command) => {
    const more = command === 'fork' ? ['--at', '2'] : []
    expectRefused(await at.cli([command, 'r_none', ...more]), 2, 'RUN_UNKNOWN', 'convoke runs')
  })

  test.each([['show'], ['approve'], ['reject'], ['escalate']])('APPROVAL_UNKNOWN: %s', async (command) => {
    expectRefused(await at.cli(['approvals', command, 'ap_none']), 2, 'APPROVAL_UNKNOWN', 'approvals ls')
  })

  test('RECORD_UNKNOWN for a step or point that the run does not have', async () => {
    expectRefused(await at.cli(['why', 'r_first', 'nowhere']), 2, 'RECORD_UNKNOWN', 'nowhere')
    expectRefused(await at.cli(['fork', 'r_first', '--at', 'nowhere']), 2, 'RECORD_UNKNOWN', 'nowhere')
  })
})

describe('USAGE', () => {
  test.each([
    ['an unknown command', ['frobnicate'], 'frobnicate'],
    ['an unknown option', ['runs', '--frob'], '--frob'],
    ['a missing argument', ['run'], 'workflow'],
    ['a missing option', ['fork', 'r_first'], '--at'],
    ['a format that is none', ['runs', '-o', 'xml'], 'text, json, jsonl'],
    ['a number that is none', ['runs', '--limit', '0'], 'whole number'],
    ['a status that is none', ['runs', '--status', 'happy'], 'happy'],
    ['a correction without a value', ['fork', 'r_first', '--at', '2', '--set', 'greet'], 'STEP:/pointer=JSON'],
    ['a role without a version', ['fork', 'r_first', '--at', '2', '--use', 'intake'], 'ROLE=VERSION'],
    ['a key without a checkpoint', ['audit', 'verify', '--public-key', 'x'], '--against FILE'],
    ['one argument too many', ['runs', 'r_first'], 'too many arguments'],
  ])('%s', async (_, args, says) => {
    expectRefused(await at.cli(args), 2, 'USAGE', says)
  })

  test('no command: the help, on stderr', async () => {
    const done = await at.cli([])
    expect(done).toMatchObject({ code: 2, out: '' })
    expect(done.err).toContain('Usage: convoke')
  })

  test('as JSON when JSON is asked for', async () => {
    for (const args of [
      ['run', 'helo', '-o', 'json'],
      ['show', 'r_none', '-o', 'jsonl'],
      ['frob', '-o', 'json'],
    ]) {
      const done = await at.cli(args)
      expect(done).toMatchObject({ code: 2, out: '' })
      expect(json(done.err)).toMatchObject({
        error: { code: expect.stringMatching(/^[A-Z_]+$/) as string, next: expect.any(String) as string },
      })
    }
  })
})
