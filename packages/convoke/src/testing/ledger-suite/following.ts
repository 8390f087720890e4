import type { StreamRef } from '../../ports/ledger.ts'
import { createChain } from '../chain.ts'
import { message, ref, startRun, withLedger, type Part } from './support.ts'

export const following: Part = ({ describe, it, expect }, open) => {
  describe('watch', () => {
    it(
      'gives all records of the tenant in commit order, then those to come, here and elsewhere',
      withLedger(open, async (ledger, { another }) => {
        const second = await another()
        await startRun(ledger, 'r1')
        await startRun(ledger, 'x', {}, { of: 'other' })
        const seen: string[] = []
        let position = 0
        for await (const item of ledger.watch('acme')) {
          expect(item.position > position).toBe(true)
          position = item.position
          seen.push(`${item.record.stream}@${item.record.seq}`)
          if (seen.length === 1) await ledger.post(ref('inbox/r1'), message('m1'))
          if (seen.length === 2) await second.post(ref('inbox/r1'), message('m2'))
          if (seen.length === 3) await startRun(second, 'r2')
          if (seen.length === 4) break
        }
        expect(seen).toEqual(['run/r1@1', 'inbox/r1@1', 'inbox/r1@2', 'run/r2@1'])
        const [record] = await ledger.read(ref('run/r2'))
        for await (const item of second.watch('acme', position - 1)) {
          expect(item).toEqual({ position, record })
          break
        }
      }),
    )

    it(
      'can start now, and ends when the ledger closes',
      withLedger(open, async (ledger, { another }) => {
        const second = await another()
        await startRun(second, 'r1')
        const items = second.watch('acme', 'now')[Symbol.asyncIterator]()
        const first = items.next()
        // The position is taken when the first record is asked for; a read behind it has seen that.
        await second.head(ref('run/r1'))
        await ledger.post(ref('inbox/r1'), message('m1'))
        const { value } = (await first) as IteratorYieldResult<{ record: { stream: string } }>
        expect(value.record.stream).toBe('inbox/r1')
        const next = items.next()
        await second.close()
        expect((await next).done).toBe(true)
        expect((await items.next()).done).toBe(true)
      }),
    )

    it(
      'follows through many records',
      withLedger(open, async (ledger, { another }) => {
        const second = await another()
        const chain = createChain(ref('memory/m1'))
        const records = Array.from({ length: 1_200 }, () => chain.next({ type: 'a' }))
        const done = (async (): Promise<number[]> => {
          const seqs: number[] = []
          for await (const { record } of second.watch('acme')) if (seqs.push(record.seq) === 1_200) break
          return seqs
        })()
        for (let i = 0; i < 1_200; i += 300)
          await ledger.append([{ ref: chain.ref, epoch: 0, records: records.slice(i, i + 300) }])
        expect(await done).toEqual(records.map((record) => record.seq))
      }),
    )
  })

  describe('onChange', () => {
    it(
      'hears of posts and ready runs, here and elsewhere, until unsubscribed',
      withLedger(open, async (ledger, { another }) => {
        const second = await another()
        const listeners = new Set<(changed: readonly StreamRef[] | undefined) => void>()
        let heard = 0
        const unsubscribe = ledger.onChange((changed) => {
          heard += 1
          for (const listener of listeners) listener(changed)
        })
        /** Resolves when the ledger says that this stream, or anything, may have changed. */
        const change = async (act: () => Promise<unknown>, stream: string): Promise<void> => {
          const { promise, resolve } = Promise.withResolvers<void>()
          const listener = (changed: readonly StreamRef[] | undefined): void => {
            if (changed?.some((it) => it.tenant === 'acme' && it.stream === stream) ?? true) resolve()
          }
          listeners.add(listener)
          await act()
          await promise
          listeners.delete(listener)
        }
        await change(() => startRun(ledger, 'r1'), 'run/r1')
        await change(() => startRun(second, 'r2'), 'run/r2')
        await change(() => second.post(ref('inbox/r1'), message('m1')), 'inbox/r1')
        await change(() => ledger.post(ref('inbox/r1'), message('m2')), 'inbox/r1')
        unsubscribe()
        await ledger.head(ref('run/r1'))
        const before = heard
        await ledger.post(ref('inbox/r1'), message('m3'))
        await ledger.head(ref('run/r1'))
        expect(heard).toBe(before)
      }),
    )
  })
}
