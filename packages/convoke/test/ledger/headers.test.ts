import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { sha256 } from '../../src/core/hash.ts'
import { headerText, type Blob, type LedgerRecord } from '../../src/core/record.ts'
import { openSqliteLedger } from '../../src/ledger-sqlite/index.ts'
import type { Ledger } from '../../src/ports/ledger.ts'
import { createChain } from '../../src/testing/chain.ts'

// The thread writes the text that a header's hash covers from the row as it stands, members in their order. Whatever a
// record may carry, that text must be the one that was hashed; else a sound record could not be read.

const ref = { tenant: 'te"nant\\\n·', stream: 'topic/a "b" \u2028 ü#1' }
let dir = ''
let ledger: Ledger
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'convoke-headers-'))
  ledger = await openSqliteLedger({ dir })
})
afterAll(async () => {
  await ledger.close()
  rmSync(dir, { recursive: true, force: true })
})

test('records of every form are read, ahead and not, as they were written', async () => {
  const chain = createChain(ref)
  const bytes = Buffer.from('a blob')
  const blobs: Blob[] = [{ hash: sha256(bytes), bytes, mediaType: 'text/plain' }]
  const wrote: LedgerRecord[] = [
    chain.next({ type: 'plain.one' }),
    chain.next({ type: 'plain.two', path: 'a%2Fb/ü "c"#2', fold: 'a%2Fb', payload: { text: 'x'.repeat(50) } }),
    chain.next({
      type: 'with.causes',
      critical: false,
      causes: [
        { kind: 'input', ref: `${ref.stream}@1` },
        { kind: 'control', ref: `${ref.stream}@2` },
        { kind: 'evidence', ref: 'run/other "run"@7' },
        { kind: 'shown', ref: `${ref.stream}-longer@3` },
      ],
      actor: { kind: 'agent', id: 'scr"ibe', version: '2', onBehalfOf: 'ann' },
      labels: { integrity: 'untrusted', confidentiality: ['b"oard'], sources: ['input', 'tool:x'], provisional: true },
    }),
    chain.next({ type: 'with.blobs', blobs: blobs.map(({ hash }) => hash), payload: ['"', '\\', '\u0007', null, 1.5] }),
    chain.next({ type: 'spilled', payload: { large: 'y'.repeat(70_000) } }, blobs),
  ]
  await ledger.append([{ ref, epoch: 0, records: wrote }], { blobs })
  const read = await ledger.read(ref)
  expect(read.map(headerText)).toEqual(wrote.map(headerText))
  const few = await ledger.readAhead?.(ref)
  await few?.proved
  expect(few?.records).toEqual(read)
  // More than are proved before they are given.
  const more = Array.from({ length: 120 }, (_, i) => chain.next({ type: 'more', path: `m${i}`, payload: i }))
  await ledger.append([{ ref, epoch: 0, records: more }])
  const many = await ledger.readAhead?.(ref)
  await many?.proved
  expect(many?.records.map((record) => record.hash)).toEqual([...wrote, ...more].map((record) => record.hash))
})
