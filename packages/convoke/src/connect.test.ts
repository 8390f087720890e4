import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { convoke } from './convoke.ts'
import { engineModule, schemeOf, shownAddress, storeModule } from './connect.ts'
import { workflow } from './app/define.ts'

const idle = workflow({ name: 'idle' }, async () => 'done')
const closing: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})

describe('addresses', () => {
  test('a folder has no scheme, not on any system', () => {
    expect(['.convoke', '/var/lib/convoke', 'C:\\convoke', 'c:/convoke', 'a:b'].map(schemeOf)).toEqual(
      Array.from({ length: 5 }, () => undefined),
    )
    expect(['postgres://a/b', 'RESTATE://h:1', 'file:///x'].map(schemeOf)).toEqual(['postgres', 'restate', 'file'])
  })

  test('are shown without their passwords', () => {
    expect(shownAddress('postgres://me:s3cret@host:5432/db?x=1')).toBe('postgres://me:…@host:5432/db?x=1')
    expect(shownAddress('postgres://me@host/db')).toBe('postgres://me@host/db')
  })

  test('STORE_UNUSABLE: no store is for an address of another kind, nor for a name that objects inherit', async () => {
    await expect(storeModule('mysql://host/db')).rejects.toMatchObject({ code: 'STORE_UNUSABLE' })
    await expect(storeModule('restate://host/')).rejects.toMatchObject({ code: 'STORE_UNUSABLE' })
    await expect(storeModule('constructor://x')).rejects.toMatchObject({ code: 'STORE_UNUSABLE' })
  })

  test('ENGINE_UNKNOWN: a name that is none, without the password that is in it', async () => {
    await expect(engineModule('kafka://me:s3cret@host')).rejects.toSatisfy(
      (error: Error & { code: string }) => error.code === 'ENGINE_UNKNOWN' && !error.message.includes('s3cret'),
    )
    await expect(engineModule('fast')).rejects.toMatchObject({ code: 'ENGINE_UNKNOWN' })
  })

  test('ENGINE_UNKNOWN: postgres alone needs a store that is a database', async () => {
    const store = mkdtempSync(join(tmpdir(), 'convoke-connect-'))
    const app = convoke({ store, engine: 'postgres', workflows: { idle }, drives: false })
    closing.push(async () => {
      await app.close()
      rmSync(store, { recursive: true, force: true })
    })
    await expect(app.work()).rejects.toMatchObject({ code: 'ENGINE_UNKNOWN' })
  })
})
