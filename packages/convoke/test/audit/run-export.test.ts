/** An exported run proves itself; whatever is changed in the file is found, whoever signs it again. */
import { generateKeyPairSync, sign, createPrivateKey } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parseStrict, type App, type Json, type Ledger } from '../../src/index.ts'
import {
  exportCheckpoint,
  exportRun,
  newSigningKey,
  publicKeyOf,
  renderReport,
  runExportError,
  runExportText,
  verifyRunExport,
  type RunExport,
  type RunVerification,
} from '../../src/views.ts'
import { emptyHead, headerText, seal, type LedgerRecord } from '../../src/core/record.ts'
import { sha256 } from '../../src/core/hash.ts'
import { signCheckpoint } from '../../src/query/checkpoint.ts'
import { headsOf, sealText } from '../../src/query/run-export.ts'
import { auditedApp, driveAudited } from './scene.ts'

type Loose = Record<string, unknown>
const signingKey = newSigningKey()
const publicKey = publicKeyOf(signingKey)
const otherKey = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }) as string

let dir: string
let app: App
let ledger: Ledger
let text: string
let whole: RunExport

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'convoke-run-export-'))
  app = auditedApp(dir)
  ledger = await driveAudited(app, 'r1')
  whole = await exportRun(ledger, 'local', 'r1', { signingKey, at: 5_000 })
  text = runExportText(whole)
})
afterAll(async () => {
  await app.close()
  rmSync(dir, { recursive: true, force: true })
})

const fresh = (): RunExport => JSON.parse(text) as RunExport
const check = (file: unknown, key = publicKey): Promise<RunVerification> =>
  verifyRunExport(file as Json, { publicKey: key })
/** Nobody says which key is to be trusted. */
const alone = (file: unknown): Promise<RunVerification> => verifyRunExport(file as Json)

/** What somebody with a key of his own can do: every hash and signature right again. */
function resigned(file: RunExport, key = otherKey): RunExport {
  const { signature: _, ...body } = file
  const made = { ...body, checkpoint: signCheckpoint(headsOf(file.streams), file.checkpoint.tenant, key, 5_000) }
  return { ...made, signature: sign(null, Buffer.from(sealText(made)), createPrivateKey(key)).toString('base64') }
}

/** Chains records anew after a change. */
function rechained(records: readonly LedgerRecord[]): LedgerRecord[] {
  let head = emptyHead
  return records.map((record, i) => {
    const next = { ...record, seq: i + 1, prevHash: head.hash, hash: '' }
    next.hash = sha256(headerText(next))
    head = next
    return next
  })
}

describe('an untouched file', () => {
  test('is sound under the key that is trusted, and says when it only vouches for itself', async () => {
    const report = await check(parseStrict(text))
    expect(report).toMatchObject({ run: 'r1', tenant: 'local', at: 5_000, trusted: true, findings: [] })
    expect(report.records).toBe(whole.checkpoint.records)
    expect(runExportError(report)).toBeUndefined()
    expect(await verifyRunExport(parseStrict(text))).toMatchObject({ trusted: false, findings: [] })
    expect((await check(fresh(), publicKeyOf(otherKey))).findings.map((f) => f.kind)).toEqual([
      'checkpoint',
      'checkpoint',
    ])
  })

  test('says who, what, with which model, under which policy, on which evidence, and who approved', () => {
    const { report } = whole
    expect(report).toMatchObject({
      run: 'r1',
      status: 'done',
      workflow: { name: 'audited', version: '7' },
      startedBy: { kind: 'system' },
      tags: ['q4'],
      input: { text: 'Invoice INV-1004, total 1420.00' },
      result: { paid: '1400.00' },
      policies: [{ version: '12', digest: expect.stringMatching(/^[0-9a-f]{16}$/) as string }],
      models: [{ model: 'scripted/rules', served: ['rules'], calls: 2 }],
      erased: [],
    })
    expect(report.roles).toMatchObject([
      { role: 'intake', agent: 'reader', version: '3', model: 'scripted/rules', rule: 'only' },
      { role: 'clerk', agent: 'clerk' },
    ])
    expect(report.conclusions[0]).toMatchObject({
      role: 'intake',
      claims: [{ statement: 'the total is 1420.00', evidence: [{ record: 'run/r1@3', quote: '1420.00' }] }],
    })
    expect(report.actions).toMatchObject([
      { tool: 'erp.getOrder', role: 'clerk', by: { kind: 'agent', id: 'clerk' }, sent: [], outcome: 'done' },
      {
        tool: 'erp.pay',
        effect: 'keyed',
        action: { input: { number: 'INV-1004', amount: '1400.00' }, businessKey: 'INV-1004' },
        known: 'done',
        outcome: 'done',
        policy: { version: '12', outcome: 'hold', rules: ['policy 12, rule large'] },
        labels: { integrity: 'untrusted' },
      },
      { tool: 'erp.deleteAll', sent: [], known: 'none', error: { code: 'POLICY_DENIED' }, policy: { outcome: 'deny' } },
    ])
    expect(report.actions[1]!.sent).toHaveLength(1)
    expect(report.approvals).toMatchObject([
      {
        state: 'corrected',
        by: 'ada',
        group: 'treasury',
        reason: 'a discount was agreed',
        changes: [{ pointer: '/input/amount', before: '1420.00', after: '1400.00' }],
      },
    ])
    const read = renderReport(report)
    for (const said of ['audited@7', 'reader@3', 'policy 12', 'corrected by ada', 'POLICY_DENIED', '“1420.00”'])
      expect(read).toContain(said)
  })

  test('holds against an earlier checkpoint of the store', async () => {
    const against = await exportCheckpoint(ledger, 'local', signingKey, 4_000)
    expect((await verifyRunExport(fresh() as unknown as Json, { publicKey, against })).findings).toEqual([])
    const heads = against.heads.map((h) => (h.stream === 'run/r1' ? { ...h, hash: 'f'.repeat(64) } : h))
    const rewritten = await verifyRunExport(fresh() as unknown as Json, {
      publicKey,
      against: signCheckpoint(heads, 'local', signingKey, 4_000),
    })
    expect(rewritten.findings).toMatchObject([{ kind: 'rewritten', stream: 'run/r1' }])
    const longer = against.heads.map((h) => (h.stream === 'run/r1' ? { ...h, seq: h.seq + 3 } : h))
    const cut = await verifyRunExport(fresh() as unknown as Json, {
      publicKey,
      against: signCheckpoint(longer, 'local', signingKey, 4_000),
    })
    expect(cut.findings).toMatchObject([{ kind: 'missing', stream: 'run/r1' }])
  })

  test('leaves out large content and says so, and never the payload of a record', async () => {
    const small = await exportRun(ledger, 'local', 'r1', { signingKey, at: 5_000, maxBlobBytes: 10 })
    expect(small.left.blobs.length).toBeGreaterThan(2)
    expect(small.left.blobs.every((b) => b.why === 'too large')).toBe(true)
    const spilled = small.streams.flatMap((s) => s.records).flatMap((r) => r.spill ?? [])
    expect(small.blobs.map((b) => b.hash)).toEqual(spilled)
    expect((await check(small)).findings).toEqual([])
    expect(small.report).toEqual(whole.report)
  })

  test('RUN_UNKNOWN for no such run, INPUT_INVALID for no such file or key', async () => {
    await expect(exportRun(ledger, 'local', 'none', { signingKey, at: 1 })).rejects.toMatchObject({
      code: 'RUN_UNKNOWN',
    })
    await expect(check({ kind: 'convoke-checkpoint', v: 1 })).rejects.toMatchObject({ code: 'INPUT_INVALID' })
    await expect(check(fresh(), 'no key')).rejects.toMatchObject({ code: 'INPUT_INVALID' })
  })
})

describe('a fork and what it shares', () => {
  test('the ancestor’s records are in its file up to the point, and prove themselves', async () => {
    const handle = await app.run('r1')
    const fork = await handle.fork({ at: 'parsed', id: 'f1' })
    await app.idle()
    expect(await fork.status()).toBeDefined()
    const file = await exportRun(ledger, 'local', 'f1', { signingKey, at: 5_000 })
    expect(file.streams.map((s) => s.stream)).toContain('run/r1')
    expect(file.report).toMatchObject({ fork: { run: 'r1', effects: 'hold' } })
    expect((await check(file)).findings).toEqual([])
  })
})

describe('an erased payload', () => {
  test('stays in the chain, is listed, and takes what it said out of the report', async () => {
    const file = fresh()
    const stream = file.streams.find((s) => s.stream === 'run/r1')!
    const records = stream.records.map((r) => (r.type === 'run.input' ? { ...r, payload: null, salt: '' } : r))
    const store = {
      ...ledger,
      read: async (ref: { stream: string; tenant: string }, o?: { from?: number; limit?: number }) =>
        ref.stream === 'run/r1'
          ? records.slice((o?.from ?? 1) - 1, (o?.from ?? 1) - 1 + (o?.limit ?? Infinity))
          : ledger.read(ref, o),
    } as Ledger
    const made = await exportRun(store, 'local', 'r1', { signingKey, at: 5_000 })
    expect(made.report.erased).toEqual(['run/r1@2'])
    expect(made.report.input).toBeUndefined()
    expect(await check(made)).toMatchObject({ erased: 1, findings: [] })
    // Nobody can erase something in a file and keep its signature.
    expect((await check({ ...file, streams: made.streams })).findings).not.toEqual([])
  })
})

describe('AUDIT_FAILED', () => {
  /** Every place in a value, as the way to it. */
  function places(value: unknown, way: readonly (string | number)[] = []): (readonly (string | number)[])[] {
    if (typeof value !== 'object' || value === null) return [way]
    const keys = Array.isArray(value) ? value.map((_, i) => i) : Object.keys(value)
    return [way, ...keys.flatMap((key) => places((value as Loose)[key], [...way, key]))]
  }
  const parentOf = (file: unknown, way: readonly (string | number)[]): Loose =>
    way.slice(0, -1).reduce((at, key) => (at as Loose)[key] as object, file as object) as Loose
  const other = (value: unknown): unknown =>
    typeof value === 'number'
      ? value + 1
      : typeof value === 'boolean'
        ? !value
        : typeof value === 'string'
          ? value === ''
            ? 'x'
            : (value[0] === 'a' ? 'b' : 'a') + value.slice(1)
          : value === null
            ? 0
            : null

  test('for a change, a removal or an addition at any place in the file', async () => {
    const all = places(fresh()).filter((way) => way.length > 0 && way[0] !== 'kind' && way[0] !== 'v')
    expect(all.length).toBeGreaterThan(1_000)
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: all.length - 1 }),
        fc.constantFrom('change', 'remove', 'add'),
        async (at, how) => {
          const file = fresh()
          const way = all[at]!
          const parent = parentOf(file, way)
          const key = way.at(-1)!
          if (how === 'change') parent[key] = other(parent[key])
          else if (how === 'add' && !Array.isArray(parent)) parent['added'] = 'x'
          else if (Array.isArray(parent)) parent.splice(Number(key), 1)
          else delete parent[key]
          expect((await check(file)).findings.length, `${how} ${way.join('/')}`).toBeGreaterThan(0)
        },
      ),
      { seed: 20, numRuns: 600 },
    )
  })

  test('for every member of a record, changed and signed again by somebody else, under no trusted key', async () => {
    // The chain shows it by itself: no signature is compared with a key from elsewhere here.
    const [stream] = fresh().streams.filter((s) => s.stream === 'run/r1')
    const kinds = new Map(stream!.records.map((r, i) => [`${r.type}${r.spill === undefined ? '' : ' spilled'}`, i]))
    expect(kinds.size).toBeGreaterThan(12)
    for (const [kind, at] of kinds)
      for (const key of Object.keys(stream!.records[at]!)) {
        const file = fresh()
        const record = file.streams.find((s) => s.stream === 'run/r1')!.records[at] as unknown as Loose
        record[key] = other(record[key])
        expect((await alone(resigned(file))).findings, `${kind} ${key}`).not.toEqual([])
      }
  })

  test.each<[string, (records: LedgerRecord[]) => LedgerRecord[]]>([
    ['a record is gone', (records) => records.toSpliced(5, 1)],
    ['two are swapped', (records) => records.toSpliced(5, 2, records[6]!, records[5]!)],
    ['one stands twice', (records) => records.toSpliced(5, 0, records[5]!)],
    ['the first is gone', (records) => records.slice(1)],
    ['all are gone', () => []],
  ])('%s, and all is signed again: the chain alone shows it', async (_, change) => {
    const file = fresh()
    const streams = file.streams.map((s) => (s.stream === 'run/r1' ? { ...s, records: change([...s.records]) } : s))
    expect((await alone(resigned({ ...file, streams }))).findings).not.toEqual([])
  })

  test('cut off, chained anew or with another payload and a fitting report, and signed again: only a trusted key shows it', async () => {
    const file = fresh()
    const own = file.streams.find((s) => s.stream === 'run/r1')!
    const forged = own.records.map((record) => {
      if (record.type !== 'approval.decided') return record
      const payload = { ...(record.payload as Loose), reason: 'because I say so' } as Json
      const { record: made } = seal({ ...record, payload }, { ...record, head: emptyHead })
      return { ...record, payload: made.payload, commitment: made.commitment, salt: made.salt }
    })
    for (const records of [own.records.slice(0, -1), rechained(own.records.toSpliced(9, 1)), rechained(forged)]) {
      const streams = file.streams.map((s) => (s === own ? { ...s, records } : s))
      const source = {
        ...ledger,
        read: async (ref: { stream: string }, o?: { from?: number; limit?: number }) =>
          (streams.find((s) => s.stream === ref.stream)?.records ?? []).slice(
            (o?.from ?? 1) - 1,
            (o?.from ?? 1) - 1 + (o?.limit ?? 9e9),
          ),
      } as Ledger
      const made = await exportRun(source, 'local', 'r1', { signingKey: otherKey, at: 5_000 })
      expect((await alone(made)).findings).toEqual([])
      expect((await check(made)).findings.map((f) => f.kind)).toEqual(['checkpoint', 'checkpoint'])
    }
  })

  test('a report that says something else than the records, signed with the very key', async () => {
    const lies: ((file: { report: Loose; left: Loose }) => void)[] = [
      ({ report }) => void ((report['approvals'] as Loose[])[0]!['by'] = 'bob'),
      ({ report }) => void ((report['actions'] as Loose[])[1]!['sent'] = []),
      ({ report }) => void delete report['models'],
      ({ report }) => void ((report['workflow'] as Loose)['version'] = '8'),
      ({ report }) => void (report['also'] = 'nothing'),
      ({ left }) => void (left['runs'] = ['r2']),
    ]
    for (const lie of lies) {
      const file = fresh()
      lie(file as unknown as { report: Loose; left: Loose })
      const found = await check(resigned(file, signingKey))
      expect(found.findings).toMatchObject([{ kind: 'report' }])
      expect(runExportError(found)).toMatchObject({ code: 'AUDIT_FAILED', details: { kind: 'report' } })
    }
  })

  test('what stands beside the proved members, signed with the very key', async () => {
    const file = fresh() as unknown as { streams: { records: Loose[] }[] } & Loose
    const record = file.streams[0]!.records[0]!
    for (const put of [
      (f: typeof file) => void (f['note'] = 'x'),
      (f: typeof file) => void (f.streams[0]!.records[0]!['approvedBy'] = 'eve'),
      (f: typeof file) => void (f.streams[0]!.records[0]!['seq'] = String(record['seq'])),
      (f: typeof file) => void (f.streams[0]!.records[0]!['critical'] = String(record['critical'])),
    ]) {
      const its = fresh() as unknown as typeof file
      put(its)
      expect((await check(resigned(its as unknown as RunExport, signingKey))).findings).not.toEqual([])
    }
  })

  test('content that is changed, missing without a word, or referred to by nothing', async () => {
    const file = fresh()
    const [first, ...rest] = file.blobs
    const changes = [
      [{ ...first!, content: `${first!.content} ` }, ...rest],
      rest,
      [first!, first!, ...rest],
      [...file.blobs, { hash: sha256(Buffer.from('x')), encoding: 'utf8' as const, content: 'x' }],
    ]
    for (const blobs of changes)
      expect((await check(resigned({ ...file, blobs }, signingKey))).findings).toContainEqual(
        expect.objectContaining({ kind: 'content' }),
      )
  })
})

test('a file of this form is proved by every later version', async () => {
  const kept = readFileSync(join(import.meta.dirname, 'export-v1.json'), 'utf8')
  const { key } = JSON.parse(readFileSync(join(import.meta.dirname, 'export-v1.key.json'), 'utf8')) as { key: string }
  const report = await verifyRunExport(parseStrict(kept), { publicKey: key })
  expect(report.findings).toEqual([])
  expect(report.records).toBeGreaterThan(20)
})
