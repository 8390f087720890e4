import type { Guard } from '../../ports/ledger.ts'
import { createChain } from '../chain.ts'
import { codeOf, errorOf, message, ref, withLedger, type Part } from './support.ts'

export const guarding: Part = ({ describe, it, expect }, open) => {
  describe('guards', () => {
    it(
      'keep a unique key for its first owner',
      withLedger(open, async (ledger) => {
        const guard = (owner: string): Guard => ({ kind: 'unique', tenant: 'acme', key: 'invoice-1', owner })
        await ledger.append([], { guards: [guard('run/a@1')] })
        await ledger.append([], { guards: [guard('run/a@1')] })
        const chain = createChain(ref('memory/m1'))
        const part = { ref: chain.ref, epoch: 0, records: [chain.next({ type: 'a' })] }
        const error = await errorOf(ledger.append([part], { guards: [guard('run/b@1')] }))
        expect(error?.code).toBe('UNIQUE_TAKEN')
        expect((await ledger.head(chain.ref)).seq).toBe(0)
        expect(await ledger.guardOwner('acme', 'invoice-1')).toBe('run/a@1')
        expect(await ledger.guardOwner('acme', 'invoice-2')).toBe(undefined)
        expect(await ledger.guardOwner('other', 'invoice-1')).toBe(undefined)
      }),
    )

    it(
      'count each key once, never above the maximum',
      withLedger(open, async (ledger, { another }) => {
        const guard = (key: string, add: number, max = 10, counter = 'budget'): Guard => ({
          kind: 'counter',
          tenant: 'acme',
          counter,
          key,
          add,
          max,
        })
        const add = (...guards: Guard[]): Promise<string> => codeOf(ledger.append([], { guards }))
        expect(await add(guard('a', 6))).toBe('none')
        expect(await add(guard('a', 6))).toBe('none')
        expect(await add(guard('b', 5))).toBe('COUNTER_EXCEEDED')
        expect(await add(guard('c', 3), guard('d', 3))).toBe('COUNTER_EXCEEDED')
        expect(await add(guard('c', 3), guard('c', 3))).toBe('none')
        expect(await add(guard('e', -2))).toBe('none')
        expect(await add(guard('b', 3))).toBe('none')
        expect(await add(guard('f', 0.5))).toBe('COUNTER_EXCEEDED')
        expect(await add(guard('f', 0.5, 10.5))).toBe('none')
        const second = await another()
        const codes = await Promise.all(
          Array.from({ length: 20 }, (_, i) =>
            codeOf((i % 2 ? ledger : second).append([], { guards: [guard(`k${i}`, 1, 10, 'shared')] })),
          ),
        )
        expect(codes.filter((code) => code === 'none').length).toBe(10)
        expect(codes.filter((code) => code === 'COUNTER_EXCEEDED').length).toBe(10)
      }),
    )

    it(
      'refuse when more came into an inbox',
      withLedger(open, async (ledger) => {
        const inbox = ref('inbox/r1')
        const at = (seq: number): Promise<string> =>
          codeOf(ledger.append([], { guards: [{ kind: 'inbox', ref: inbox, seq }] }))
        expect(await at(0)).toBe('none')
        await ledger.post(inbox, message('m1'))
        expect(await at(0)).toBe('INBOX_ADVANCED')
        expect(await at(1)).toBe('none')
      }),
    )

    it(
      'leave nothing behind when one of them refuses',
      withLedger(open, async (ledger) => {
        const chain = createChain(ref('memory/m1'))
        const part = { ref: chain.ref, epoch: 0, records: [chain.next({ type: 'a' })] }
        const guards: Guard[] = [
          { kind: 'unique', tenant: 'acme', key: 'u', owner: 'me' },
          { kind: 'counter', tenant: 'acme', counter: 'c', key: 'k', add: 1, max: 1 },
          { kind: 'inbox', ref: ref('inbox/r1'), seq: 9 },
        ]
        const posts = [{ ref: ref('inbox/r2'), message: message('m1') }]
        expect(await codeOf(ledger.append([part], { guards, posts }))).toBe('INBOX_ADVANCED')
        expect(await ledger.guardOwner('acme', 'u')).toBe(undefined)
        expect(await ledger.heads('acme')).toEqual([])
        await ledger.append([part], { guards: guards.slice(0, 2), posts })
        expect(await ledger.guardOwner('acme', 'u')).toBe('me')
        expect((await ledger.heads('acme')).length).toBe(2)
      }),
    )
  })
}
