import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createFaults, FaultList } from './faults.ts'
import { startBench } from './testkit.ts'
import type { Bench } from './testkit.ts'

let bench: Bench
beforeEach(async () => {
  bench = await startBench()
})
afterEach(async () => bench.end())

const payment = {
  invoice: 'RE-1001',
  po: 'PO-77',
  vendor: 'V-101',
  amount: '1190.00',
  currency: 'EUR',
  iban: 'DE45999000010044718200',
}
const applied = async (): Promise<number> =>
  (await bench.audit()).filter((each) => each['applied'] === 'applied').length

describe('kill -9', () => {
  it.each(['before', 'after'] as const)('%s the commit: the same key again gives one effect', async (when) => {
    await bench.fault({ kind: 'crash', when, method: 'POST', path: '/payments' })
    await expect(bench.post('/payments', 'k-1', payment)).rejects.toThrow(/fetch failed/)
    expect(await bench.erp().exited).toEqual({ code: null, signal: 'SIGKILL' })
    await bench.restart()
    expect((await bench.get('/payments?key=k-1')).body.items).toHaveLength(when === 'before' ? 0 : 1)
    expect(await applied()).toBe(when === 'before' ? 0 : 1)
    const again = await bench.post('/payments', 'k-1', payment)
    expect([again.status, again.headers.get('idempotency-replayed')]).toEqual([201, when === 'before' ? null : 'true'])
    expect((await bench.get('/payments?key=k-1')).body.items).toHaveLength(1)
    expect(await applied()).toBe(1)
  })

  it('at any moment, ten times: every effect once, none lost', async () => {
    const due = Array.from({ length: 40 }, (_, index) => ({ key: `k-${index}`, invoice: `MS-2${index}` }))
    const rail = { po: 'PO-85', vendor: 'V-106', amount: '10.00', currency: 'EUR', iban: 'DE91999000040070092231' }
    const done = new Set<string>()
    for (let round = 0; round <= 10; round++) {
      const work = due.map(async ({ key, invoice }) => {
        const reply = await bench.post('/payments', key, { ...rail, invoice }).catch(() => undefined)
        if (reply?.status === 201) done.add(key)
      })
      if (round < 10) {
        // Later and later into the batch, so that the kill hits other requests each time.
        await sleep(round * 6)
        process.kill(bench.erp().pid, 'SIGKILL')
        await bench.erp().exited
      }
      await Promise.all(work)
      if (round < 10) await bench.restart()
    }
    expect(done.size).toBe(40)
    const { body } = await bench.get('/purchase-orders/PO-85/payments')
    expect([body['paid'], body.items?.length]).toEqual(['400.00', 40])
    const effects = (await bench.audit())
      .filter((each) => each['applied'] === 'applied')
      .map((each) => each['idempotencyKey'])
    expect(effects).toHaveLength(40)
    expect(new Set(effects)).toEqual(new Set(due.map((each) => each.key)))
    expect((await bench.get('/audit/summary')).body).toMatchObject({ repeatedEffects: 0 })
  }, 60_000)
})

describe('a fault', () => {
  it('drop: before, nothing is done; after, it is', async () => {
    await bench.fault({ kind: 'drop', when: 'before', method: 'POST' }, { kind: 'drop', method: 'POST' })
    await expect(bench.post('/payments', 'k-1', payment)).rejects.toThrow(/fetch failed/)
    expect(await applied()).toBe(0)
    await expect(bench.post('/payments', 'k-1', payment)).rejects.toThrow(/fetch failed/)
    expect(await applied()).toBe(1)
    expect((await bench.post('/payments', 'k-1', payment)).headers.get('idempotency-replayed')).toBe('true')
    expect((await bench.audit()).map((each) => [each['applied'], each['status']])).toEqual([
      ['refused', 0],
      ['applied', 201],
      ['repeated', 201],
    ])
  })

  it('rate-limit and error: refused, nothing kept under the key', async () => {
    await bench.fault({ kind: 'rate-limit', retryAfter: 7, times: 2 }, { kind: 'error' })
    const limited = await bench.post('/payments', 'k-1', payment)
    expect([limited.status, limited.headers.get('retry-after'), limited.body.code]).toEqual([429, '7', 'RATE_LIMITED'])
    expect((await bench.get('/vendors')).status).toBe(429)
    expect((await bench.post('/payments', 'k-1', payment)).status).toBe(500)
    expect((await bench.post('/payments', 'k-1', payment)).headers.get('idempotency-replayed')).toBeNull()
    expect(await applied()).toBe(1)
  })

  it('error after: a 500 that lies, for the effect is there', async () => {
    await bench.fault({ kind: 'error', when: 'after', method: 'POST' })
    expect((await bench.post('/payments', 'k-1', payment)).status).toBe(500)
    expect((await bench.get('/payments?key=k-1')).body.items).toHaveLength(1)
  })

  it('garbage and silent: the effect is there, the reply is not', async () => {
    await bench.fault({ kind: 'garbage', method: 'POST' }, { kind: 'silent', method: 'POST' })
    await expect(bench.post('/payments', 'k-1', payment)).rejects.toThrow(SyntaxError)
    const stop = new AbortController()
    const headers = { 'Idempotency-Key': 'k-1' }
    const silent = await fetch(`${bench.erp().url}/payments`, {
      method: 'POST',
      headers,
      body: JSON.stringify(payment),
      signal: stop.signal,
    })
    expect(silent.status).toBe(200)
    const body = silent.text()
    expect(await Promise.race([body, sleep(200, 'silence')])).toBe('silence')
    stop.abort()
    await expect(body).rejects.toThrow(/abort/)
    expect((await bench.post('/payments', 'k-1', payment)).headers.get('idempotency-replayed')).toBe('true')
    expect(await applied()).toBe(1)
  })

  it('huge: 100 MB of JSON', async () => {
    await bench.fault({ kind: 'huge', path: '/vendors' })
    const response = await fetch(`${bench.erp().url}/vendors`)
    let bytes = 0
    for await (const chunk of response.body ?? []) bytes += chunk.byteLength
    expect(bytes).toBe(100_000_000)
    expect((await bench.get('/vendors')).status).toBe(200)
  })

  it('delay: the reply takes its time', async () => {
    await bench.fault(
      { kind: 'delay', ms: 300, method: 'GET' },
      { kind: 'delay', when: 'after', ms: 300, method: 'POST' },
    )
    for (const call of [() => bench.get('/vendors'), () => bench.post('/payments', 'k-1', payment)]) {
      const before = performance.now()
      expect((await call()).status).toBeLessThan(300)
      expect(performance.now() - before).toBeGreaterThanOrEqual(299)
    }
  })

  it('can be due from the start, and is not there without being asked for', async () => {
    const faultsFile = join(bench.dataDir, 'faults.json')
    writeFileSync(faultsFile, JSON.stringify([{ kind: 'error', path: '/purchase-orders/*' }]))
    await bench.restart({ allowFaults: false, faultsFile })
    expect((await bench.get('/vendors')).status).toBe(200)
    expect((await bench.get('/purchase-orders/PO-77')).status).toBe(500)
    expect((await bench.get('/purchase-orders/PO-77')).status).toBe(200)
    await expect(bench.fault({ kind: 'error' })).rejects.toThrow(/ROUTE_UNKNOWN/)
  })
})

describe('the list of faults', () => {
  it('uses each up in order, by method and path', () => {
    const faults = createFaults(
      FaultList.parse([
        { kind: 'error', method: 'POST', times: 2 },
        { kind: 'garbage', path: '/a/*' },
      ]),
    )
    const kinds = [
      ['GET', '/b'],
      ['POST', '/a/1'],
      ['GET', '/a/1'],
      ['POST', '/b'],
      ['POST', '/b'],
    ].map(([method = '', path = '']) => faults.take(method, path)?.kind)
    expect(kinds).toEqual([undefined, 'error', 'garbage', 'error', undefined])
    faults.add(FaultList.parse([{ kind: 'drop' }]))
    faults.clear()
    expect(faults.take('GET', '/')).toBeUndefined()
  })

  it('refuses what it does not know', () => {
    expect(FaultList.safeParse([{ kind: 'gremlin' }]).success).toBe(false)
    expect(FaultList.safeParse([{ kind: 'drop', tiems: 3 }]).success).toBe(false)
  })
})
