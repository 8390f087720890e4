import { mkdtempSync, rmSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { convoke, workflow, type App } from '../../src/index.ts'
import { openSqliteLedger } from '../../src/ledger-sqlite/index.ts'

// Records that are replayed while they are being proved.

const ref = { tenant: 'local', stream: 'run/r' }
const dirs: string[] = []
afterEach(() => dirs.splice(0).forEach((dir) => rmSync(dir, { recursive: true, force: true })))

/** `beyond` is called by what comes after the recorded steps. */
function open(dir: string, steps: number, beyond: () => Promise<string>, troubles: string[] = []): App {
  const flow = workflow({ name: 'flow' }, async (run) => {
    for (let i = 0; i < steps; i++) await run.step(`s${i}`, () => 'x'.repeat(100) + i)
    return await run.step('beyond', beyond)
  })
  return convoke({ store: dir, workflows: { flow }, onTrouble: (_, error) => void troubles.push(error.code) })
}

/** A run of which `steps` are recorded, left where the next is under way. */
async function begun(steps: number): Promise<string> {
  const dir = mkdtempSync(join(tmpdir(), 'convoke-ahead-'))
  dirs.push(dir)
  const reached = Promise.withResolvers<undefined>()
  const app = open(dir, steps, () => {
    reached.resolve(undefined)
    return new Promise(() => undefined)
  })
  await app.start('flow', null, { id: 'r' })
  await reached.promise
  await app.close()
  return dir
}

describe('records ahead of their proof', () => {
  it('are those that read gives, over several pages, and are proved', async () => {
    const dir = await begun(2_500)
    const ledger = await openSqliteLedger({ dir })
    const { records, proved } = (await ledger.readAhead?.(ref)) ?? { records: [], proved: Promise.reject(new Error()) }
    await proved
    expect(records.length).toBeGreaterThan(2_500)
    expect(records).toEqual(await ledger.read(ref, { limit: 10_000 }))
    expect(Object.isFrozen(records[7]) && Object.isFrozen(records[7]?.payload)).toBe(true)
    await ledger.close()
  })

  it.each([
    ['a value', `UPDATE records SET payload = replace(payload, 'xxx', 'xyx') WHERE path = 's1200'`],
    ['the name of a step, which replay cannot follow', `UPDATE records SET path = 'other' WHERE path = 's1200'`],
    ['text that is not JSON', `UPDATE records SET payload = '{' WHERE path = 's1200'`],
    ['causes that are not JSON', `UPDATE records SET causes = '[' WHERE path = 's1200'`],
    ['causes that are more', `UPDATE records SET causes = '0,0,0,"",0,null,1],[0,1,1,1,1,0,0,0' WHERE path = 's1200'`],
    ['a time that is more', `UPDATE records SET at = '1,1,0,0,0,0,0,"",0,null,1],[0,1,1' WHERE path = 's1200'`],
    ['other causes', `UPDATE records SET causes = replace(causes, '@', '@1') WHERE path = 's1200'`],
    ['a shape', `UPDATE shapes SET text = '[1' WHERE id = (SELECT shape FROM records WHERE path = 's1200')`],
    ['text that is more than one record', `UPDATE records SET payload = 'null,1],[0' WHERE path = 's1200'`],
  ])('are not followed when they are not what was written: %s', async (_, change) => {
    const dir = await begun(1_500)
    const db = new DatabaseSync(join(dir, 'ledger.db'))
    expect(db.prepare(change).run().changes).toBe(1)
    const count = (): unknown => db.prepare('SELECT count(*) AS n FROM records').get()
    const before = count()
    const troubles: string[] = []
    let acted = false
    const app = open(
      dir,
      1_500,
      () => {
        acted = true
        return Promise.resolve('done')
      },
      troubles,
    )
    await app.work()
    await expect.poll(() => troubles.length, { timeout: 20_000 }).toBeGreaterThan(0)
    await app.close()
    expect(troubles[0]).toBe('LEDGER_CORRUPT')
    expect(acted).toBe(false)
    expect(count()).toEqual(before)
    db.close()
  })
})
