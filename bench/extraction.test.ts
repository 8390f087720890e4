import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { extractInvoice, invoiceDocument } from '../examples/invoices/src/extract/index.ts'
import { FIELDS, invoiceData, runExtraction, share, type ExtractionResult } from './extraction.ts'

const folder = invoiceData()
if (folder === undefined)
  console.warn('skipped: no real invoices (set CONVOKE_TEST_DATA to the folder that holds invoices/)')

describe.skipIf(folder === undefined)('real invoices', () => {
  let result: ExtractionResult
  beforeAll(async () => {
    result = await runExtraction(folder ?? '')
  }, 120_000)

  it('are all read, by both routes', () => {
    expect(result.failed).toEqual([])
    expect(result.files).toBeGreaterThan(20)
  })

  it('yield every field of their XML exactly', () => {
    expect(result.readings.filter((r) => r.route === 'xml' && !['exact', 'unstated'].includes(r.verdict))).toEqual([])
    for (const field of FIELDS) expect(share(result.readings, 'xml', 'exact', field)).toBe(1)
  })

  it('yield no wrong value from their text layer, and most of what it shows', () => {
    expect(result.readings.filter((r) => r.verdict === 'wrong')).toEqual([])
    expect(share(result.readings, 'text', 'exact')).toBeGreaterThan(0.95)
  })

  it('disagree with their own XML only in the files that were paired carelessly', () => {
    const stated = result.readings.filter((r) => r.verdict === 'elsewhere' && r.truth !== undefined)
    expect(new Set(stated.map((r) => r.file)).size).toBeLessThanOrEqual(5)
  })
})

describe.skipIf(folder === undefined || !existsSync(join(folder, 'defective')))('defective invoices', () => {
  const read = async (name: string): Promise<Awaited<ReturnType<typeof extractInvoice>>> =>
    extractInvoice(new Uint8Array(readFileSync(join(folder ?? '', 'defective', name))))

  // Credit notes that call themselves invoices and count backwards: allowed, and to be read as they stand.
  it.each(['Avoir_FR_type380_BASIC.pdf', 'Avoir_FR_type380_EN16931.pdf'])('%s is a negative invoice', async (name) => {
    const extracted = await read(name)
    expect(extracted).toMatchObject({
      ok: true,
      source: 'xml',
      document: { type: '380', net: '-218.48', grand: '-233.47' },
    })
    expect(extracted.ok && invoiceDocument.safeParse(extracted.document).success).toBe(true)
  })

  it('fail1.pdf has a date of no known format and a line that does not add up', async () => {
    const extracted = await read('fail1.pdf')
    expect(extracted).toMatchObject({ ok: true, source: 'xml', document: { grand: '571.04' } })
    expect(extracted.ok && extracted.document).not.toHaveProperty('date')
    const problems = extracted.ok ? extracted.problems.map((problem) => problem.code) : []
    expect(problems).toEqual(['XML_FIELD_INVALID', 'CONTRADICTION'])
  })

  it('fail2.pdf has an element of another vocabulary, which is passed over', async () => {
    const extracted = await read('fail2.pdf')
    expect(extracted).toMatchObject({ ok: true, source: 'xml', document: { grand: '571.04', date: '2014-10-08' } })
    expect(extracted.ok && extracted.problems).toMatchObject([{ code: 'XML_FOREIGN_ELEMENT', at: 'title' }])
  })

  it('fail3.pdf carries an order as XML, so its page is read', async () => {
    const extracted = await read('fail3.pdf')
    expect(extracted).toMatchObject({ ok: true, source: 'text', document: { date: '2017-05-09', grand: '571.04' } })
    expect(extracted.ok && extracted.problems).toMatchObject([{ code: 'NOT_AN_INVOICE' }])
  })
})
