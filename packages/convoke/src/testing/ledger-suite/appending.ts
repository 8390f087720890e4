import { sha256 } from '../../core/hash.ts'
import type { Blob, LedgerRecord } from '../../core/record.ts'
import { createChain } from '../chain.ts'
import { claimRun, codeOf, errorOf, message, ref, startRun, withLedger, type Part } from './support.ts'

export const appending: Part = ({ describe, it, expect }, open) => {
  describe('append', () => {
    it(
      'stores records in order and gives back what was sealed',
      withLedger(open, async (ledger) => {
        const chain = createChain(ref('memory/m1'))
        const records = [
          chain.next({ type: 'note.added', payload: { text: 'ä "quoted" \u2028', n: 1.5, __proto__: null } }),
          chain.next({
            type: 'note.changed',
            critical: true,
            path: 'a/b#2',
            fold: 'a',
            causes: [
              { ref: 'memory/m1@1', kind: 'input' },
              { ref: 'run/other@7', kind: 'evidence' },
              { ref: 'memory/m12@1', kind: 'supersedes' },
            ],
            actor: { kind: 'agent', id: 'intake', version: '2', onBehalfOf: 'ann' },
            labels: { integrity: 'untrusted', confidentiality: ['hr'], sources: ['input'], provisional: true },
            payload: [null, true, { '10': 1, '9': 2 }],
          }),
        ]
        await ledger.append([{ ref: chain.ref, epoch: 0, records }])
        expect(await ledger.read(chain.ref)).toEqual(records)
        expect(await ledger.head(chain.ref)).toEqual(chain.head)
        const [first] = await ledger.read(chain.ref)
        expect(Object.isFrozen(first) && Object.isFrozen(first?.payload) && Object.isFrozen(first?.causes)).toBe(true)
      }),
    )

    it(
      'accepts the same records again without effect',
      withLedger(open, async (ledger) => {
        const chain = createChain(ref('memory/m1'))
        const records = [chain.next({ type: 'a' }), chain.next({ type: 'b' })]
        const part = { ref: chain.ref, epoch: 0, records }
        await ledger.append([part])
        await ledger.append([part])
        await ledger.append([{ ...part, records: [records[0] as LedgerRecord] }])
        const more = { ...part, records: [...records, chain.next({ type: 'c' })] }
        await ledger.append([more])
        expect((await ledger.read(chain.ref)).map((record) => record.type)).toEqual(['a', 'b', 'c'])
      }),
    )

    it(
      'accepts repeated records even under an older epoch and with guards that would now refuse',
      withLedger(open, async (ledger) => {
        await ledger.register('w1')
        const chain = await startRun(ledger, 'r1')
        const epoch = await claimRun(ledger, chain, 'w1')
        const part = { ref: chain.ref, epoch, records: [chain.next({ type: 'step.completed' })] }
        const counter = { kind: 'counter', tenant: 'acme', counter: 'c', key: 'k', add: 1, max: 1 } as const
        await ledger.append([part], { guards: [counter] })
        await ledger.claim(chain.ref, 'w1')
        await ledger.append([part], { guards: [{ ...counter, key: 'k2' }] })
        expect((await ledger.head(chain.ref)).seq).toBe(2)
      }),
    )

    it(
      'refuses a stale position with what it expected and found',
      withLedger(open, async (ledger) => {
        const chain = createChain(ref('memory/m1'))
        const rival = createChain(ref('memory/m1'))
        await ledger.append([{ ref: chain.ref, epoch: 0, records: [chain.next({ type: 'a' })] }])
        const late = { ref: rival.ref, epoch: 0, records: [rival.next({ type: 'b' })] }
        const error = await errorOf(ledger.append([late]))
        expect(error?.code).toBe('POSITION_STALE')
        expect(error?.details).toMatchObject({ stream: 'memory/m1', expected: 2, found: 1 })
        const gap = createChain(ref('memory/m1'), { seq: 5, hash: chain.head.hash })
        const ahead = { ref: gap.ref, epoch: 0, records: [gap.next({ type: 'c' })] }
        expect(await codeOf(ledger.append([ahead]))).toBe('POSITION_STALE')
        const fork = createChain(ref('memory/m1'), { seq: 1, hash: 'f'.repeat(64) })
        const other = { ref: fork.ref, epoch: 0, records: [fork.next({ type: 'd' })] }
        expect(await codeOf(ledger.append([other]))).toBe('POSITION_STALE')
        expect(await ledger.head(chain.ref)).toEqual(chain.head)
      }),
    )

    it(
      'is atomic across its streams',
      withLedger(open, async (ledger) => {
        const good = createChain(ref('memory/good'))
        const stale = createChain(ref('memory/stale'), { seq: 3, hash: 'a'.repeat(64) })
        const batch = [good, stale].map((chain) => ({
          ref: chain.ref,
          epoch: 0,
          records: [chain.next({ type: 'a' })],
        }))
        const posts = [{ ref: ref('inbox/r1'), message: message('m1') }]
        expect(await codeOf(ledger.append(batch, { posts }))).toBe('POSITION_STALE')
        expect(await ledger.heads('acme')).toEqual([])
        await ledger.append(batch.slice(0, 1), { posts })
        expect((await ledger.heads('acme')).map((head) => head.stream)).toEqual(['inbox/r1', 'memory/good'])
      }),
    )

    it(
      'lets each of many appends of one turn succeed or be refused by itself',
      withLedger(open, async (ledger) => {
        const chains = Array.from({ length: 40 }, (_, i) => createChain(ref(`memory/m${i}`)))
        const codes = await Promise.all(
          chains.map((chain, i) => {
            const record = chain.next({ type: 'a', ...(i % 4 === 0 ? { blobs: [sha256('nowhere')] } : {}) })
            return codeOf(ledger.append([{ ref: chain.ref, epoch: 0, records: [record] }]))
          }),
        )
        expect(codes).toEqual(chains.map((_, i) => (i % 4 === 0 ? 'BLOB_MISSING' : 'none')))
        expect((await ledger.heads('acme')).length).toBe(30)
      }),
    )

    it(
      'keeps the order of appends to one stream made in one turn',
      withLedger(open, async (ledger) => {
        const chain = createChain(ref('memory/m1'))
        await Promise.all(
          Array.from({ length: 100 }, () =>
            ledger.append([{ ref: chain.ref, epoch: 0, records: [chain.next({ type: 'a' })] }]),
          ),
        )
        expect((await ledger.read(chain.ref)).length).toBe(100)
      }),
    )

    it(
      'refuses what is no append to that stream',
      withLedger(open, async (ledger) => {
        const chain = createChain(ref('memory/m1'))
        const record = chain.next({ type: 'a' })
        const append = (stream: string, records: readonly LedgerRecord[], of?: string): Promise<string> =>
          codeOf(ledger.append([{ ref: ref(stream, of), epoch: 0, records }]))
        expect(await append('memory/m2', [record])).toBe('INPUT_INVALID')
        expect(await append('memory/m1', [{ ...record, v: 2 as unknown as 1 }])).toBe('RECORD_UNSUPPORTED')
        expect(await append('memory/m1', [record], '')).toBe('TENANT_MISSING')
        const inbox = createChain(ref('inbox/r1'))
        expect(await append('inbox/r1', [inbox.next({ type: 'a' })])).toBe('INPUT_INVALID')
        expect(await ledger.heads('acme')).toEqual([])
      }),
    )
  })

  describe('blobs', () => {
    const blobOf = (text: string): Blob => {
      const bytes = Buffer.from(text)
      return { hash: sha256(bytes), bytes, mediaType: 'text/plain' }
    }

    it(
      'are stored with the append that refers to them, or before',
      withLedger(open, async (ledger) => {
        const [a, b] = [blobOf('one'), blobOf('two')]
        const chain = createChain(ref('memory/m1'))
        const record = chain.next({ type: 'a', blobs: [b.hash, a.hash, b.hash] })
        const part = { ref: chain.ref, epoch: 0, records: [record] }
        expect(await codeOf(ledger.append([part], { blobs: [a] }))).toBe('BLOB_MISSING')
        expect(await ledger.getBlob('acme', a.hash)).toBe(undefined)
        await ledger.putBlobs('acme', [b])
        await ledger.append([part], { blobs: [a] })
        expect(Buffer.from((await ledger.getBlob('acme', a.hash)) ?? []).toString()).toBe('one')
        expect(await ledger.read(chain.ref)).toEqual([record])
      }),
    )

    it(
      'belong to one tenant and have the hash they are stored under',
      withLedger(open, async (ledger) => {
        const a = blobOf('one')
        await ledger.putBlobs('acme', [a])
        await ledger.putBlobs('acme', [a])
        expect(await ledger.getBlob('other', a.hash)).toBe(undefined)
        expect(await codeOf(ledger.putBlobs('acme', [{ ...a, bytes: Buffer.from('x'), hash: sha256('y') }]))).toBe(
          'LEDGER_CORRUPT',
        )
        expect(await codeOf(ledger.getBlob('', a.hash))).toBe('TENANT_MISSING')
        expect(await codeOf(ledger.putBlobs('', [a]))).toBe('TENANT_MISSING')
      }),
    )

    it(
      'hold payloads of 64 KiB and more',
      withLedger(open, async (ledger) => {
        const chain = createChain(ref('memory/m1'))
        const blobs: Blob[] = []
        const records = [
          chain.next({ type: 'a', payload: 'x'.repeat(70_000) }, blobs),
          chain.next({ type: 'b', payload: 'small' }, blobs),
        ]
        const part = { ref: chain.ref, epoch: 0, records }
        expect(await codeOf(ledger.append([part]))).toBe('BLOB_MISSING')
        await ledger.append([part], { blobs })
        const [spilled] = await ledger.read(chain.ref)
        expect(spilled).toEqual(records[0])
        expect((await ledger.getBlob('acme', spilled?.spill ?? ''))?.length).toBe(70_002)
      }),
    )
  })

  describe('post', () => {
    it(
      'gives messages their place and remembers their ids',
      withLedger(open, async (ledger, { another }) => {
        const inbox = ref('inbox/r1')
        expect(await ledger.post(inbox, message('m1'))).toEqual({ seq: 1, duplicate: false })
        const second = await another()
        expect(await second.post(inbox, message('m2', { causes: [{ ref: 'run/p@3', kind: 'control' }] }))).toEqual({
          seq: 2,
          duplicate: false,
        })
        expect(await ledger.post(inbox, message('m1', { payload: 'other' }))).toEqual({ seq: 1, duplicate: true })
        const records = await ledger.read(inbox)
        expect(records.map((record) => [record.seq, record.type, record.payload])).toEqual([
          [1, 'signal', { id: 'm1' }],
          [2, 'signal', { id: 'm2' }],
        ])
        expect(records[0]?.labels.integrity).toBe('untrusted')
        expect(records[1]?.causes).toEqual([{ ref: 'run/p@3', kind: 'control' }])
        expect(records.map((record) => record.epoch)).toEqual([0, 0])
      }),
    )

    it(
      'keeps large messages and given labels',
      withLedger(open, async (ledger) => {
        const labels = { integrity: 'trusted', confidentiality: ['hr'], sources: ['person'] } as const
        await ledger.post(ref('inbox/r1'), message('m1', { payload: 'x'.repeat(70_000), labels }))
        const [record] = await ledger.read(ref('inbox/r1'))
        expect(record?.labels).toEqual(labels)
        expect((await ledger.getBlob('acme', record?.spill ?? ''))?.length).toBe(70_002)
      }),
    )

    it(
      'gives each of many senders its own place',
      withLedger(open, async (ledger, { another }) => {
        const second = await another()
        const posted = await Promise.all(
          Array.from({ length: 60 }, (_, i) => (i % 2 ? ledger : second).post(ref('inbox/r1'), message(`m${i % 30}`))),
        )
        expect(new Set(posted.map(({ seq }) => seq)).size).toBe(30)
        expect(posted.filter(({ duplicate }) => duplicate).length).toBe(30)
        expect((await ledger.read(ref('inbox/r1'))).length).toBe(30)
      }),
    )

    it(
      'refuses what is no message to an inbox',
      withLedger(open, async (ledger) => {
        expect(await codeOf(ledger.post(ref('run/r1'), message('m1')))).toBe('INPUT_INVALID')
        expect(await codeOf(ledger.post(ref('inbox/r1'), message('')))).toBe('INPUT_INVALID')
        expect(await codeOf(ledger.post(ref('inbox/r1', ''), message('m1')))).toBe('TENANT_MISSING')
        expect(await codeOf(ledger.post(ref('inbox/r1'), message('m1', { payload: Number.NaN })))).toBe('NOT_CANONICAL')
        expect(await codeOf(ledger.post(ref('inbox'), message('m1')))).toBe('NAME_INVALID')
      }),
    )
  })
}
