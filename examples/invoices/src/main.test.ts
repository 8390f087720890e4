import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { decideApproval } from 'convoke'
import { openSqliteLedger } from 'convoke/sqlite'
import { startMain, type Ended } from './child.ts'
import { readBooks } from './counterpart.ts'
import { inboxOf } from './crash-matrix.ts'

const shipped = fileURLToPath(new URL('../inbox', import.meta.url))
const patience = { timeout: 180_000 }

let folder: string
let store: string
let erp: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'convoke-main-'))
  store = join(folder, 'store')
  erp = join(folder, 'erp')
})
afterEach(() => rm(folder, { recursive: true, force: true }))

function run(...args: string[]): Promise<Ended> {
  return startMain(['--store', store, '--erp-data', erp, ...args]).ended
}

interface Result {
  readonly file: string
  readonly status: string
  readonly reason: string
  readonly source?: string
  readonly document?: { readonly grand?: string; readonly lines?: number }
}

async function results(file: string): Promise<Record<string, Result>> {
  const list = JSON.parse(await readFile(file, 'utf8')) as Result[]
  return Object.fromEntries(list.map((result) => [result.file, result]))
}

describe('the main job', () => {
  it(
    'brings every shipped file to a stated status, pays nothing twice and never both of a pair',
    patience,
    async () => {
      const out = join(folder, 'out.json')
      const ended = await run('--out', out)
      expect([ended.code, ended.stderr]).toEqual([0, ''])
      const by = await results(out)
      expect(Object.keys(by)).toHaveLength(19)
      for (const file of ['inv-1002.pdf', 'inv-1003.pdf', 'inv-1007.pdf', 'inv-1010.pdf'])
        expect(by[file]?.status).toBe('paid')
      expect(new Set([by['inv-1001.pdf']?.status, by['inv-1012.pdf']?.status])).toEqual(new Set(['exception', 'paid']))
      expect(new Set([by['inv-1013.pdf']?.status, by['inv-1014.pdf']?.status])).toEqual(new Set(['exception', 'paid']))
      expect(by['inv-1011.pdf']).toMatchObject({ status: 'waiting' })
      for (const [file, why] of [
        ['inv-1004.pdf', 'quantity'],
        ['inv-1005.pdf', 'price'],
        ['inv-1006.pdf', 'total'],
        ['inv-1008.pdf', 'po-unknown'],
        ['inv-1009.pdf', 'iban'],
      ] as const)
        expect(by[file]).toMatchObject({ status: 'exception', reason: expect.stringContaining(why) as string })
      expect(by['broken.pdf']).toMatchObject({ status: 'set-aside', reason: 'PDF_UNREADABLE' })
      expect(by['inv-1015.pdf']).toMatchObject({ status: 'set-aside', reason: 'NO_TEXT' })
      expect(by['inv-1003.pdf']).toMatchObject({ source: 'text', document: { grand: '1224.00', lines: 2 } })
      // What it names next leads to the same folders.
      expect(ended.stdout).toContain(`npx convoke why r_1004 --store ${store}`)
      expect(ended.stdout).toContain(` · npm start -- --store ${store} --erp-data ${erp}`)
      expect(ended.stdout).toMatch(/"1,420" is not in evidence .* → repair 1\/2/)
      expect(ended.stdout).toMatch(/wrong PO: PO-82 instead of PO-81 → rolled back/)
      expect(ended.stdout).toMatch(/HF-1005 +planner +price-history ∥ order → explanation/)
      expect(ended.stdout).toMatch(/ELB-1004 +planner +deliveries ∥ price-history → explanation/)
      expect(ended.stdout).toMatch(/MS-1008 +re-planner +order-search → explanation-2/)
      expect(ended.stdout).toMatch(
        /Caught: 1 unsupported claim, 1 malformed answer, 1 bad draft, 1 duplicate, 1 overdraw, 3 forbidden calls/,
      )
      const books = await readBooks(erp)
      expect(books.repeatedEffects).toBe(0)

      const second = await run()
      expect([second.code, second.stdout.includes('matched and paid (6)')]).toEqual([0, true])
      expect((await readBooks(erp)).effects).toEqual(books.effects)
    },
  )

  it('goes on where an approval was given in between', patience, async () => {
    const inbox = await inboxOf(shipped, ['inv-1011.pdf'])
    expect((await run('--inbox', inbox)).stdout).toMatch(/waiting for approval \(1\)/)
    const ledger = await openSqliteLedger({ dir: store })
    const [approval] = await ledger.approvals({ tenant: 'local', status: 'pending' })
    await decideApproval(ledger, {
      tenant: 'local',
      id: approval?.id ?? '',
      decision: 'approved',
      by: { kind: 'person', id: 'mara' },
      at: Date.now(),
    })
    await ledger.close()
    expect((await run('--inbox', inbox)).stdout).toMatch(/matched and paid \(1\)/)
    expect((await readBooks(erp)).payments).toContainEqual('payment V-105 ELB-1011 PO-86 7735.00 EUR')
    await rm(inbox, { recursive: true, force: true })
  })

  it('INTERRUPTED: Ctrl-C parks; the next start finishes with nothing repeated', patience, async () => {
    let pressed = false
    const child = startMain(['--store', store, '--erp-data', erp], {
      onLine: (line) => {
        if (pressed || !/^\d\d:\d\d /.test(line)) return
        pressed = true
        child.kill('SIGINT')
      },
    })
    const ended = await child.ended
    expect([ended.code, ended.stderr]).toEqual([130, ''])
    expect(ended.stdout).toMatch(/parked\. Go on with: npm start/)
    const next = await run()
    expect(next.code).toBe(0)
    expect((await readBooks(erp)).repeatedEffects).toBe(0)
  })

  it(
    'INTERRUPTED: Ctrl-C at any moment of a start that finds all done parks, or lets it say so',
    patience,
    async () => {
      const inbox = await inboxOf(shipped, ['inv-1002.pdf'])
      const args = ['--inbox', inbox, '--store', store, '--erp-data', erp]
      expect((await run('--inbox', inbox)).code).toBe(0)
      // From the first line on: before the app has asked for its ledger, while it works, at rest, and at the very end.
      for (const ms of [0, 10, 40, 70, 90, 110, 130, 160, 180, 200]) {
        const child = startMain(args, {
          onLine: (line) => {
            if (line.startsWith('1 invoice')) setTimeout(() => child.kill('SIGINT'), ms)
          },
        })
        const { code, signal, stdout, stderr } = await child.ended
        const said = [code ?? signal, stdout.includes('parked. Go on with: npm start'), stdout.includes(' 0 repeated')]
        // Once all is said and closed, the signal just ends it.
        expect(
          [
            [130, true, false],
            [0, false, true],
            ['SIGINT', false, true],
          ],
          `after ${ms} ms`,
        ).toContainEqual(said)
        expect(stderr).toBe('')
      }
      await rm(inbox, { recursive: true, force: true })
    },
  )

  it('reads the text layer alone with --ignore-attachments', patience, async () => {
    const inbox = await inboxOf(shipped, ['inv-1001.pdf'])
    const out = join(folder, 'out.json')
    await run('--inbox', inbox, '--ignore-attachments', '--out', out)
    expect((await results(out))['inv-1001.pdf']).toMatchObject({ source: 'text', document: { grand: '1190.00' } })
    await rm(inbox, { recursive: true, force: true })
  })
})

describe('bad input is told, with its code and the next step', () => {
  it('USAGE: an unknown option, a number that is none', patience, async () => {
    for (const args of [['--colour'], ['--concurrency', 'many']]) {
      const ended = await run(...args)
      expect([ended.code, ended.stderr]).toEqual([2, expect.stringMatching(/^USAGE: .*\nnext: npm start -- --help/)])
    }
  })

  it('INPUT_INVALID: an inbox that is missing, and one without a PDF', patience, async () => {
    const empty = join(folder, 'empty')
    await mkdir(empty)
    for (const inbox of [join(folder, 'nowhere'), empty]) {
      const ended = await run('--inbox', inbox)
      expect([ended.code, ended.stderr]).toEqual([2, expect.stringMatching(/^INPUT_INVALID: .*\nnext: .*--inbox DIR/)])
    }
  })

  it('PDF_UNREADABLE: a PDF that is none is set aside and the job ends well', patience, async () => {
    const inbox = join(folder, 'inbox')
    await mkdir(inbox)
    await writeFile(join(inbox, 'letter.pdf'), 'Dear Sir or Madam')
    const ended = await run('--inbox', inbox)
    expect([ended.code, ended.stdout]).toEqual([0, expect.stringMatching(/set aside \(1\)[\s\S]*PDF_UNREADABLE/)])
  })

  it('STORE_UNUSABLE: a store that is a file', patience, async () => {
    await writeFile(store, 'not a folder')
    const ended = await run()
    expect([ended.code, ended.stderr]).toEqual([2, expect.stringMatching(/^STORE_UNUSABLE: .*\nnext: /)])
  })

  it('PORT_IN_USE: the port of the ERP is taken', patience, async () => {
    const server = createServer()
    const port = await new Promise<number>((resolve) =>
      server.listen(0, '127.0.0.1', () => resolve((server.address() as { port: number }).port)),
    )
    const ended = await run('--erp-port', String(port))
    server.close()
    expect([ended.code, ended.stderr]).toEqual([1, expect.stringMatching(/^PORT_IN_USE: /)])
  })
})
