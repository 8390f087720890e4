import { expect, test } from 'vitest'
import { flow, newWorld, temporaryFolder } from '../../test/durable/world.ts'
import { openLedger } from '../ledger-sqlite/index.ts'
import type { Ledger } from '../ports/ledger.ts'

test('a crowd of runs is begun, driven and waited for without a look at any of them', async () => {
  const size = 400
  const looked = { run: 0, read: 0 }
  const hello = flow('hello', (run, n: number) => run.step('greet', () => `hello ${n}`))
  const app = newWorld().app([hello], {
    // All are driven at once: who is not driven within a second is looked at.
    concurrency: size,
    openLedger: async () => {
      const dir = temporaryFolder()
      // A ledger that moves to its thread meanwhile tells of everything once.
      const ledger = await openLedger({ dir, durability: 'process-crash-only' }, 'never')
      const count =
        <K extends keyof typeof looked>(kind: K): Ledger[K] =>
        (...args: never[]) => {
          looked[kind]++
          return (ledger[kind] as (...all: never[]) => never)(...args)
        }
      return { ...ledger, run: count('run'), read: count('read') }
    },
  })
  const crowd = async (): Promise<void> => {
    const results = await Promise.all(
      Array.from({ length: size }, async (_, n) => (await app.start<number, string>('hello', n)).result()),
    )
    expect(results).toEqual(Array.from({ length: size }, (_, n) => `hello ${n}`))
  }
  await crowd()
  await crowd()
  expect(looked.run + looked.read).toBeLessThan(size / 10)
  await app.close()
})
