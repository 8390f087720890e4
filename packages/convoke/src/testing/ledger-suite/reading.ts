import { emptyHead } from '../../core/record.ts'
import { createChain } from '../chain.ts'
import { codeOf, errorOf, message, ref, startRun, withLedger, type Part } from './support.ts'

export const reading: Part = ({ describe, it, expect }, open) => {
  describe('read', () => {
    it(
      'goes from a place, up to a limit',
      withLedger(open, async (ledger) => {
        const chain = createChain(ref('memory/m1'))
        const records = Array.from({ length: 1_300 }, (_, i) => chain.next({ type: 'a', payload: i }))
        await ledger.append([{ ref: chain.ref, epoch: 0, records }])
        const seqs = async (options?: object): Promise<number[]> =>
          (await ledger.read(chain.ref, options)).map((record) => record.seq)
        const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i)
        expect(await seqs()).toEqual(range(1, 1_000))
        expect(await seqs({ limit: 5_000 })).toEqual(range(1, 1_300))
        expect(await seqs({ from: 1_298 })).toEqual([1_298, 1_299, 1_300])
        expect(await seqs({ from: 700, limit: 555 })).toEqual(range(700, 1_254))
        expect(await seqs({ from: 1_301 })).toEqual([])
        expect(await seqs({ limit: 0 })).toEqual([])
        expect(await ledger.read(ref('memory/none'))).toEqual([])
      }),
    )

    it(
      'leaves out what finished folds contain',
      withLedger(open, async (ledger) => {
        const chain = createChain(ref('memory/m1'))
        const add = (type: string, path: string, fold?: string, payload: object = {}): ReturnType<typeof chain.next> =>
          chain.next({ type, path, payload: { ...payload }, ...(fold === undefined ? {} : { fold }) })
        const records = [
          add('task.requested', 'ask'),
          add('step.completed', 'ask/model', 'ask'),
          add('step.completed', 'ask/tool', 'ask', { fold: false }),
          add('step.completed', 'ask', undefined, { fold: true }),
          add('step.completed', 'open/model', 'open'),
          add('step.completed', 'open'),
          add('step.completed', 'other/model', 'other'),
          add('step.failed', 'other', undefined, { fold: true }),
          add('step.completed', 'late/model', 'ask'),
        ]
        await ledger.append([{ ref: chain.ref, epoch: 0, records }])
        const outline = await ledger.read(chain.ref, { outline: true })
        expect(outline.map((record) => record.seq)).toEqual([1, 4, 5, 6, 8])
        expect(outline[1]).toEqual(records[3])
        expect((await ledger.read(chain.ref, { outline: true, from: 3, limit: 2 })).map((r) => r.seq)).toEqual([4, 5])
        expect((await ledger.read(chain.ref)).length).toBe(9)
      }),
    )

    it(
      'keeps tenants apart',
      withLedger(open, async (ledger) => {
        await startRun(ledger, 'r1')
        const other = await startRun(ledger, 'r1', { workflow: 'theirs' }, { of: 'other' })
        expect((await ledger.read(other.ref))[0]?.payload).toEqual({ workflow: 'theirs', version: '1' })
        expect((await ledger.heads('acme')).length).toBe(1)
        expect((await ledger.runs({ tenant: 'other' })).map((run) => run.workflow)).toEqual(['theirs'])
        expect(await ledger.head(ref('run/r1', 'third'))).toEqual(emptyHead)
      }),
    )

    it(
      'names the tenant and the stream, or is refused',
      withLedger(open, async (ledger) => {
        const none = ref('run/r1', '')
        const calls: Promise<unknown>[] = [
          ledger.read(none),
          ledger.head(none),
          ledger.heads(''),
          ledger.run(none),
          ledger.runs({ tenant: '' }),
          ledger.approval('', 'a'),
          ledger.approvals({ tenant: '' }),
          ledger.dependents('', 'run/r1@1'),
          ledger.guardOwner('', 'k'),
          ledger.tenantKey(''),
          ledger.claim(none, 'w1'),
          ledger.release(none, 1),
        ]
        expect(await Promise.all(calls.map(codeOf))).toEqual(calls.map(() => 'TENANT_MISSING'))
        expect(await codeOf(ledger.read(ref('nonsense')))).toBe('NAME_INVALID')
      }),
    )
  })

  describe('heads', () => {
    it(
      'come by name, page by page',
      withLedger(open, async (ledger) => {
        for (const id of ['b', 'a', 'c']) await startRun(ledger, id)
        await ledger.post(ref('inbox/a'), message('m1'))
        const names = async (options?: object): Promise<string[]> =>
          (await ledger.heads('acme', options)).map((head) => head.stream)
        expect(await names()).toEqual(['inbox/a', 'run/a', 'run/b', 'run/c'])
        expect(await names({ limit: 2 })).toEqual(['inbox/a', 'run/a'])
        expect(await names({ after: 'run/a' })).toEqual(['run/b', 'run/c'])
        const [head] = await ledger.heads('acme', { after: 'run/b' })
        expect(head).toEqual({ stream: 'run/c', ...(await ledger.head(ref('run/c'))) })
      }),
    )
  })

  describe('dependents', () => {
    it(
      'are the records of other streams that name a record as a cause',
      withLedger(open, async (ledger) => {
        const source = createChain(ref('memory/m1'))
        const first = source.next({ type: 'a' })
        const own = source.next({ type: 'b', causes: [{ ref: 'memory/m1@1', kind: 'input' }] })
        await ledger.append([{ ref: source.ref, epoch: 0, records: [first, own] }])
        for (const id of ['y', 'x']) {
          const chain = createChain(ref(`topic/${id}`))
          const record = chain.next({ type: 'c', causes: [{ ref: 'memory/m1@1', kind: 'evidence' }] })
          await ledger.append([{ ref: chain.ref, epoch: 0, records: [record] }])
        }
        await ledger.post(ref('inbox/r1'), message('m1', { causes: [{ ref: 'memory/m1@1', kind: 'input' }] }))
        expect(await ledger.dependents('acme', 'memory/m1@1')).toEqual(['inbox/r1@1', 'topic/x@1', 'topic/y@1'])
        expect(await ledger.dependents('acme', 'memory/m1@2')).toEqual([])
        expect(await ledger.dependents('other', 'memory/m1@1')).toEqual([])
      }),
    )
  })

  describe('tenantKey', () => {
    it(
      'is 32 bytes, the same for all and other for others',
      withLedger(open, async (ledger, { another }) => {
        const second = await another()
        const [a, b, c] = await Promise.all([
          ledger.tenantKey('acme'),
          second.tenantKey('acme'),
          ledger.tenantKey('other'),
        ])
        expect(a.length).toBe(32)
        expect(Buffer.from(b).equals(a)).toBe(true)
        expect(Buffer.from(c).equals(a)).toBe(false)
      }),
    )
  })

  describe('close', () => {
    it(
      'refuses everything afterwards and may be repeated',
      withLedger(open, async (ledger, { another }) => {
        const second = await another()
        const chain = await startRun(second, 'r1')
        const lease = await second.register('w1')
        await second.close()
        await second.close()
        expect(lease.remaining() <= 0).toBe(true)
        const error = await errorOf(second.read(chain.ref))
        expect(error?.code).toBe('LEDGER_CLOSED')
        expect(await codeOf(second.post(ref('inbox/r1'), message('m1')))).toBe('LEDGER_CLOSED')
        expect((await ledger.read(chain.ref)).length).toBe(1)
        expect(await ledger.isAlive('w1')).toBe(false)
      }),
    )
  })
}
