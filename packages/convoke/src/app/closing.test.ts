import { expect, test } from 'vitest'
import { newWorld, flow } from '../../test/durable/world.ts'
import { ConvokeError } from '../core/errors.ts'
import type { Ledger, Lease } from '../ports/ledger.ts'
import { createMemoryStore } from '../testing/memory-ledger.ts'
import type { AppParts } from './app.ts'

const failed = new ConvokeError('LEDGER_IO', 'the disk is gone')
const hello = flow('hello', (run) => run.step('greet', () => 'hello'))

/** A ledger that counts how often it is closed. */
function counted(its: (ledger: Ledger) => Partial<Ledger> = () => ({})): { ledger: Ledger; closes: () => number } {
  const ledger = createMemoryStore().open()
  let closes = 0
  const close = (): Promise<void> => {
    closes++
    return ledger.close()
  }
  return { ledger: { ...ledger, ...its(ledger), close }, closes: () => closes }
}

const open = (ledger: Ledger, parts: Partial<AppParts> = {}): ReturnType<ReturnType<typeof newWorld>['app']> =>
  newWorld().app([hello], { openLedger: () => Promise.resolve(ledger), ...parts })

test('an app that cannot be opened does not keep the ledger that it has asked for', async () => {
  const { ledger, closes } = counted()
  const app = open(ledger, { extend: () => Promise.reject(failed) })
  await expect(app.start('hello', null)).rejects.toThrow(failed)
  expect(closes()).toBe(1)
  await expect(app.runs()).rejects.toThrow(failed)
  await app.close()
  await app.closed
  expect(closes()).toBe(1)
})

test('an app that was never used asks for no ledger when it closes', async () => {
  const { ledger, closes } = counted()
  const app = open(ledger)
  await app.close()
  await app.closed
  expect(closes()).toBe(0)
  await expect(app.runs()).rejects.toMatchObject({ code: 'LEDGER_CLOSED' })
})

test('what cannot be given back on closing does not keep the ledger open, nor those who wait for the end', async () => {
  const release = (): Promise<void> => Promise.reject(failed)
  const { ledger, closes } = counted((own) => ({
    register: async (worker): Promise<Lease> => ({ ...(await own.register(worker)), release }),
  }))
  let told = 0
  const app = open(ledger, {
    onClose: () => {
      told++
      return Promise.resolve()
    },
  })
  expect(await (await app.start<null, string>('hello', null)).result()).toBe('hello')
  await expect(app.close()).rejects.toThrow(failed)
  await app.closed
  expect([closes(), told]).toEqual([1, 1])
})
