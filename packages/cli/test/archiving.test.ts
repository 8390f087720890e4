/** Ended runs out of a store and back, on the command line, on a folder and on Postgres. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { startEmbeddedPostgres, type EmbeddedPostgres } from '@convoke/postgres/embedded'
import { newSigningKey } from 'convoke/views'
import { ageOf } from '../src/commands/archive.ts'
import { json, place, type Place } from './support/cli.ts'

vi.setConfig({ testTimeout: 240_000, hookTimeout: 120_000 })

let at: Place
let postgres: EmbeddedPostgres
beforeAll(async () => {
  at = place()
  postgres = await startEmbeddedPostgres({ fsync: false })
})
afterAll(async () => {
  await postgres?.close()
  at.remove()
})

test.each([
  ['90d', 7_776_000_000],
  ['12h', 43_200_000],
  ['30m', 1_800_000],
  ['0s', 0],
])('--older-than %s is %i ms', (text, ms) => {
  expect(ageOf(text)).toBe(ms)
})

test.each(['90', 'd', '-1d', '1.5h', '', '90 days'])('USAGE: --older-than %j', (text) => {
  expect(() => ageOf(text)).toThrow(expect.objectContaining({ code: 'USAGE' }))
})

interface Report {
  readonly files: readonly { readonly name: string; readonly runs: readonly string[]; readonly records: number }[]
  readonly left: readonly { readonly run: string; readonly why: string }[]
}

describe.each(['folder', 'postgres'])('store archive and restore, %s', (kind) => {
  test('what has ended goes into files and comes back; what waits stays', async () => {
    const store = kind === 'folder' ? `store-${kind}` : await postgres.newDatabase()
    const to = `archive-${kind}`
    const cli = async (...args: string[]): ReturnType<Place['cli']> => await at.cli([...args, '--store', store])
    expect(await cli('run', 'counting', '--input', '2', '--id', 'r_done')).toMatchObject({ code: 0 })
    const invoice = `{"number":"${kind}","amount":"5.00"}`
    expect(await cli('run', 'payment', '--input', invoice, '--id', 'r_waits')).toMatchObject({ code: 3 })
    writeFileSync(join(at.dir, `${kind}.key`), newSigningKey())
    const signed = ['--out', `signed-${kind}.json`, '--key', `${kind}.key`]
    expect(await cli('audit', 'export', ...signed)).toMatchObject({ code: 0 })
    const shown = (await cli('show', 'r_done', '-o', 'json')).out

    const none = json((await cli('store', 'archive', '--older-than', '1d', '--to', to, '-o', 'json')).out)
    expect(none).toMatchObject({ files: [], left: [] })
    const dry = await cli('store', 'archive', '--older-than', '0s', '--to', to, '--dry-run', '-o', 'json')
    expect((json(dry.out) as unknown as Report).files.map(({ runs }) => runs)).toEqual([['r_done']])
    expect(existsSync(join(at.dir, to))).toBe(false)

    const done = await cli('store', 'archive', '--older-than', '0s', '--to', to)
    expect([done.code, done.err]).toEqual([0, ''])
    expect(done.out).toContain('archived 1 run (')
    const [file = ''] = readdirSync(join(at.dir, to))
    expect(file).toMatch(/^local-r_done-[0-9a-f]{12}\.jsonl$/)
    const refused = await cli('show', 'r_done')
    expect([refused.code, refused.out]).toEqual([2, ''])
    expect(refused.err).toContain('RUN_ARCHIVED')
    expect(refused.err).toContain('convoke store restore')
    expect(json((await cli('runs', '-o', 'json')).out)).toEqual(
      expect.arrayContaining([expect.objectContaining({ run: 'r_done', status: 'done' })]),
    )
    const audit = await cli('audit', 'verify', '--against', `signed-${kind}.json`)
    expect([audit.code, audit.out]).toEqual([0, expect.stringContaining('archived')])

    const path = join(at.dir, to, file)
    writeFileSync(join(at.dir, `cut-${kind}.jsonl`), readFileSync(path, 'utf8').slice(0, -100))
    const cut = await cli('store', 'restore', `cut-${kind}.jsonl`)
    expect([cut.code, cut.out, cut.err]).toEqual([1, '', expect.stringContaining('ARCHIVE_INVALID')])
    expect(await cli('store', 'restore', 'nothing.jsonl')).toMatchObject({ code: 2 })
    const back = await cli('store', 'restore', join(to, file))
    expect([back.code, back.out]).toEqual([0, expect.stringContaining('brought back 1 run')])
    expect((await cli('show', 'r_done', '-o', 'json')).out).toBe(shown)
    expect((await cli('store', 'restore', join(to, file))).out).toContain('nothing to bring back')
    expect(await cli('migrate', '--rebuild')).toMatchObject({ code: 0, out: expect.stringContaining('written anew') })
    expect((await cli('show', 'r_done', '-o', 'json')).out).toBe(shown)
    expect(await cli('audit', 'verify', '--against', `signed-${kind}.json`)).toMatchObject({ code: 0 })
  })
})
