import { createHash, createHmac } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { hmac, hmacKey, sha256 } from './hash.ts'

const bytes = (hex: string): Uint8Array => Buffer.from(hex, 'hex')

// RFC 4231, section 4; the texts of case 3 and 4 are not UTF-8, so those stay with node:crypto below.
test.for<[name: string, key: Uint8Array, data: string, mac: string]>([
  ['case 1', bytes('0b'.repeat(20)), 'Hi There', 'b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7'],
  [
    'case 2',
    Buffer.from('Jefe'),
    'what do ya want for nothing?',
    '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843',
  ],
  [
    'case 6',
    bytes('aa'.repeat(131)),
    'Test Using Larger Than Block-Size Key - Hash Key First',
    '60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54',
  ],
  [
    'case 7',
    bytes('aa'.repeat(131)),
    'This is a test using a larger than block-size key and a larger than block-size data. The key needs to be hashed before being used by the HMAC algorithm.',
    '9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2',
  ],
])('hmacKey computes %s of RFC 4231', ([, key, data, mac]) => {
  expect(hmacKey(key)(data)).toBe(mac)
  expect(hmac(key, data)).toBe(mac)
})

test('hmacKey agrees with node:crypto for every key and text, called again and again', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 200 }),
      fc.array(fc.oneof(fc.string({ unit: 'binary', maxLength: 400 }), fc.string({ minLength: 300, maxLength: 2000 }))),
      (key, texts) => {
        const mac = hmacKey(key)
        for (const text of [...texts, 'é'.repeat(320), 'é'.repeat(321), '\ud800'])
          expect(mac(text)).toBe(createHmac('sha256', key).update(text).digest('hex'))
      },
    ),
  )
})

test('sha256 is SHA-256 of the UTF-8 bytes', () => {
  expect(sha256('abc')).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad')
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      expect(sha256(text)).toBe(createHash('sha256').update(text).digest('hex'))
      expect(sha256(Buffer.from(text))).toBe(sha256(text))
    }),
  )
})
