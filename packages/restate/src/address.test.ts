import { describe, expect, test } from 'vitest'
import { parseAddress } from './address.ts'
import { objectKey, runOf, scopeOf, serviceOf } from './names.ts'

describe('addresses', () => {
  test('say where the engine is and where it finds the workers', () => {
    expect(parseAddress('restate://engine')).toEqual({
      ingress: 'http://engine:8080',
      admin: 'http://engine:9070',
      listen: { host: '127.0.0.1', port: 9080 },
    })
    expect(
      parseAddress('restate://10.0.0.1:1/?admin=10.0.0.2:3&listen=0.0.0.0:4&advertise=http://w:5&tls=true'),
    ).toEqual({
      ingress: 'https://10.0.0.1:1',
      admin: 'https://10.0.0.2:3',
      listen: { host: '0.0.0.0', port: 4 },
      advertise: 'http://w:5',
    })
    expect(parseAddress('restate://[::1]:8080?listen=[::1]')).toMatchObject({
      admin: 'http://[::1]:9070',
      listen: { host: '::1', port: 9080 },
    })
  })

  test('ENGINE_UNKNOWN: what cannot be read, without the password that is in it', () => {
    const wrong = ['restate://', 'http://engine', 'restate://h/path', 'restate://h?port=1', 'restate://h?listen=a/b']
    for (const address of [...wrong, 'restate://h?advertise=h:1', 'restate://me:s3cret@h'])
      expect(() => parseAddress(address)).toThrow(
        expect.objectContaining({ code: 'ENGINE_UNKNOWN', message: expect.not.stringContaining('s3cret') }),
      )
  })
})

describe('names', () => {
  const scope = scopeOf(new Uint8Array(32))
  const pin = { name: 'pay/äll', version: '1', digest: 'd' }

  test('R8: tell versions, code and stores apart, and are what the engine allows', () => {
    const services = [
      serviceOf(scope, pin),
      serviceOf(scope, { ...pin, version: '2' }),
      serviceOf(scope, { ...pin, digest: 'e' }),
      serviceOf(scopeOf(new Uint8Array(32).fill(1)), pin),
      serviceOf(scope, undefined),
    ]
    expect(new Set(services).size).toBe(5)
    for (const service of services) expect(service).toMatch(/^[A-Za-z][A-Za-z0-9._-]*$/)
  })

  test("give a run's key and take it back, whatever the tenant is called", () => {
    for (const tenant of ['acme', 'a/b', 'ü %2F'])
      expect(runOf(objectKey({ tenant, stream: 'run/x:1~2' }))).toEqual({ tenant, stream: 'run/x:1~2' })
  })
})
