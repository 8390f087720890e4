/** Every way to change a stored record must be found: by the chain itself, or against a signed checkpoint. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Json } from '../core/json.ts'
import { noLabels } from '../core/labels.ts'
import { emptyHead, seal, spillBytes, type Blob, type Head, type LedgerRecord } from '../core/record.ts'
import { sha256 } from '../core/hash.ts'
import { openSqliteLedger } from '../ledger-sqlite/index.ts'
import type { Ledger } from '../ports/ledger.ts'
import { auditError, exportCheckpoint, verifyLedger, type AuditOptions, type AuditReport } from './audit.ts'
import { isSigned, newSigningKey, parseCheckpoint, publicKeyOf, type Checkpoint } from './checkpoint.ts'

const tenant = 'local'
const streams = ['run/a', 'run/b']
const key = newSigningKey()
const publicKey = publicKeyOf(key)

let dir = ''
let checkpoint: Checkpoint

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'convoke-audit-'))
  checkpoint = await withLedger(async (ledger) => {
    for (const stream of streams) await write(ledger, stream, emptyHead, 12)
    return exportCheckpoint(ledger, tenant, key, 1_000)
  })
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

async function withLedger<T>(use: (ledger: Ledger) => Promise<T>): Promise<T> {
  const ledger = await openSqliteLedger({ dir })
  try {
    return await use(ledger)
  } finally {
    await ledger.close()
  }
}

const file: Blob = blobOf('a file that a record refers to')

function blobOf(text: string): Blob {
  const bytes = Buffer.from(text)
  return { hash: sha256(bytes), bytes, mediaType: 'text/plain' }
}

/** Records of every storage: small, with a blob, and spilled. */
async function write(ledger: Ledger, stream: string, after: Head, n: number, epoch = 0): Promise<void> {
  const records: LedgerRecord[] = []
  const blobs: Blob[] = [file]
  let head = after
  for (let i = 1; i <= n; i++) {
    const payload: Json = i === 6 ? { text: 'x'.repeat(spillBytes) } : { i, stream }
    const sealed = seal(
      {
        type: 'note.kept',
        actor: { kind: 'system', id: 'test' },
        labels: noLabels,
        payload,
        ...(i === 2 ? { causes: [{ ref: `${stream}@1`, kind: 'input' as const }] } : {}),
        ...(i === 4 ? { blobs: [file.hash] } : {}),
      },
      { tenant, stream, epoch, head, at: i, salt: '0'.repeat(31) + (i % 10) },
    )
    records.push(sealed.record)
    if (sealed.spilled !== undefined) blobs.push(sealed.spilled)
    head = sealed.record
  }
  await ledger.append([{ ref: { tenant, stream }, epoch, records }], { blobs })
}

function tamper(sql: string, ...values: (string | number | Uint8Array)[]): void {
  const db = new DatabaseSync(join(dir, 'ledger.db'))
  try {
    expect(db.prepare(sql).run(...values).changes).toBeGreaterThan(0)
  } finally {
    db.close()
  }
}

const inB = `stream = (SELECT id FROM streams WHERE name = 'run/b')`

function audit(options: AuditOptions = { against: checkpoint, publicKey }): Promise<AuditReport> {
  return withLedger((ledger) => verifyLedger(ledger, tenant, options))
}

/** Found in the stream that was changed, and nowhere else. */
function expectFinding(report: AuditReport, seq: number, kind: string): void {
  expect(report.findings.map((f) => f.stream)).toEqual(report.findings.map(() => 'run/b'))
  expect(report.findings).toContainEqual(expect.objectContaining({ seq, kind }))
  expect(auditError(report)).toMatchObject({ code: 'AUDIT_FAILED' })
}

describe('an untouched store', () => {
  test('is sound, alone and against its checkpoint', async () => {
    for (const options of [{}, { against: checkpoint }, { against: checkpoint, publicKey }]) {
      const report = await audit(options)
      expect(report).toMatchObject({ streams: 2, records: 24, findings: [] })
      expect(auditError(report)).toBeUndefined()
    }
  })

  test('is still sound against an older checkpoint after more was written', async () => {
    await withLedger(async (ledger) => {
      const lease = await ledger.register('w_1')
      const claim = await ledger.claim({ tenant, stream: 'run/b' }, 'w_1')
      await write(ledger, 'run/b', claim, 3, claim.epoch)
      await lease.release()
      await write(ledger, 'run/c', emptyHead, 2)
    })
    expect((await audit()).findings).toEqual([])
  })
})

describe('AUDIT_FAILED for what the chain alone shows', () => {
  test.each([
    ['a flipped payload', `UPDATE records SET payload = replace(payload, ':7', ':8') WHERE seq = 7 AND ${inB}`, 7],
    ['a moved time', `UPDATE records SET at = at + 1 WHERE seq = 5 AND ${inB}`, 5],
    ['another path', `UPDATE records SET path = 'pay' WHERE seq = 3 AND ${inB}`, 3],
    ['a flipped hash', `UPDATE records SET hash = zeroblob(32) WHERE seq = 9 AND ${inB}`, 9],
    ['a changed cause', `UPDATE records SET causes = NULL WHERE seq = 2 AND ${inB}`, 2],
  ])('%s', async (_, sql, seq) => {
    tamper(sql)
    expectFinding(await audit({}), seq, 'broken')
  })

  test('a record deleted from the middle', async () => {
    tamper(`DELETE FROM records WHERE seq = 5 AND ${inB}`)
    const report = await audit({})
    expectFinding(report, 5, 'missing')
    expect(report.findings).toHaveLength(1)
  })

  test('two records swapped', async () => {
    tamper(`UPDATE records SET seq = -3 WHERE seq = 3 AND ${inB}`)
    tamper(`UPDATE records SET seq = 3 WHERE seq = 8 AND ${inB}`)
    tamper(`UPDATE records SET seq = 8 WHERE seq = -3 AND ${inB}`)
    const report = await audit({})
    expectFinding(report, 3, 'broken')
    expectFinding(report, 8, 'broken')
  })

  test('a changed file, and changed content of a spilled payload', async () => {
    tamper(`UPDATE blobs SET bytes = 'something else' WHERE hash = ?`, Buffer.from(file.hash, 'hex'))
    expect((await audit({})).findings).toMatchObject([
      { stream: 'run/a', seq: 4, kind: 'content' },
      { stream: 'run/b', seq: 4, kind: 'content' },
    ])
    tamper(`UPDATE blobs SET bytes = 'something else' WHERE length(bytes) > 60000`)
    expect((await audit({})).findings.map((f) => f.seq)).toEqual([4, 6, 4, 6])
  })

  test('content that is gone', async () => {
    tamper(`UPDATE blobs SET bytes = NULL WHERE hash = ?`, Buffer.from(file.hash, 'hex'))
    expect((await audit({})).findings).toMatchObject([{ kind: 'content' }, { kind: 'content' }])
  })

  test('all that is broken is listed, and reading goes on behind it', async () => {
    for (const seq of [2, 7, 11]) tamper(`UPDATE records SET at = at + 1 WHERE seq = ? AND ${inB}`, seq)
    const report = await audit({})
    expect(report.findings.map((f) => f.seq)).toEqual([2, 7, 11])
    expect(report.records).toBe(21)
  })

  test('an erased payload is no finding: its commitment stays in the chain', async () => {
    tamper(`UPDATE records SET payload = 'null', salt = x'' WHERE seq = 7 AND ${inB}`)
    expect(await audit()).toMatchObject({ findings: [], erased: 1 })
  })
})

describe('AUDIT_FAILED for what only a checkpoint shows', () => {
  test('truncated: the last records are gone', async () => {
    tamper(`DELETE FROM records WHERE seq > 9 AND ${inB}`)
    expect((await audit({})).findings).toEqual([])
    expectFinding(await audit(), 12, 'missing')
  })

  test('a whole stream is gone', async () => {
    tamper(`DELETE FROM records WHERE ${inB}`)
    tamper(`DELETE FROM streams WHERE name = 'run/b'`)
    expect((await audit({})).findings).toEqual([])
    expectFinding(await audit(), 12, 'missing')
  })

  test('rewritten and chained again, to the same length and longer', async () => {
    for (const length of [12, 15]) {
      tamper(`DELETE FROM records WHERE ${inB}`)
      tamper(`DELETE FROM streams WHERE name = 'run/b'`)
      await withLedger((ledger) => rewrite(ledger, length))
      expect((await audit({})).findings).toEqual([])
      expectFinding(await audit(), 12, 'rewritten')
    }
  })
})

async function rewrite(ledger: Ledger, length: number): Promise<void> {
  const records: LedgerRecord[] = []
  let head: Head = emptyHead
  for (let i = 1; i <= length; i++) {
    const place = { tenant, stream: 'run/b', epoch: 0, head, at: i, salt: '1'.repeat(32) }
    const draft = {
      type: 'note.kept',
      actor: { kind: 'system' as const, id: 'test' },
      labels: noLabels,
      payload: { i },
    }
    const { record } = seal(draft, place)
    records.push(record)
    head = record
  }
  await ledger.append([{ ref: { tenant, stream: 'run/b' }, epoch: 0, records }])
}

describe('the checkpoint itself', () => {
  test('holds sorted heads and counts, and verifies under its key', () => {
    expect(checkpoint).toMatchObject({
      kind: 'convoke-checkpoint',
      tenant,
      at: 1_000,
      streams: 2,
      records: 24,
      publicKey,
    })
    expect(checkpoint.heads.map((h) => [h.stream, h.seq])).toEqual([
      ['run/a', 12],
      ['run/b', 12],
    ])
    expect(isSigned(checkpoint)).toBe(true)
    expect(isSigned(parseCheckpoint(JSON.parse(JSON.stringify(checkpoint)) as Json), publicKey)).toBe(true)
  })

  test('a changed one is a finding', async () => {
    const changed = { ...checkpoint, heads: checkpoint.heads.slice(1) }
    const report = await audit({ against: changed, publicKey })
    expect(report.findings).toMatchObject([{ stream: '', kind: 'checkpoint' }])
  })

  test('one that somebody else signed again is a finding only where the key is known', async () => {
    tamper(`DELETE FROM records WHERE seq > 9 AND ${inB}`)
    const forged = await withLedger((ledger) => exportCheckpoint(ledger, tenant, newSigningKey(), 1_000))
    expect((await audit({ against: forged })).findings).toEqual([])
    expect((await audit({ against: forged, publicKey })).findings).toMatchObject([{ kind: 'checkpoint' }])
  })

  test('AUDIT_FAILED: nothing is signed over records that are not sound', async () => {
    tamper(`UPDATE records SET at = at + 1 WHERE seq = 5 AND ${inB}`)
    const failed = withLedger((ledger) => exportCheckpoint(ledger, tenant, key, 1_000))
    await expect(failed).rejects.toMatchObject({ code: 'AUDIT_FAILED', details: { stream: 'run/b', seq: 5 } })
  })

  test('INPUT_INVALID for what is no checkpoint, no signing key and no public key', async () => {
    expect(() => parseCheckpoint({ kind: 'convoke-checkpoint', v: 2 })).toThrow(
      expect.objectContaining({ code: 'INPUT_INVALID' }),
    )
    expect(() => parseCheckpoint([])).toThrow(expect.objectContaining({ code: 'INPUT_INVALID' }))
    expect(() => publicKeyOf('nonsense')).toThrow(expect.objectContaining({ code: 'INPUT_INVALID' }))
    expect(() => isSigned(checkpoint, 'bm9uc2Vuc2U=')).toThrow(expect.objectContaining({ code: 'INPUT_INVALID' }))
  })
})
