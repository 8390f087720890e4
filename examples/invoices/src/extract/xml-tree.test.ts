import { describe, expect, it } from 'vitest'
import { parseXml, XML_LIMITS, XmlRefused } from './xml-tree.ts'

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const parse = (text: string): ReturnType<typeof parseXml> => parseXml(bytes(text))

describe('parseXml', () => {
  it('resolves prefixes, default namespaces and scopes', () => {
    const root = parse('<a xmlns="urn:one"><b xmlns="urn:two" c="1 &amp; 2"/><p:d xmlns:p="urn:one">5.00</p:d></a>')
    expect(root).toMatchObject({ ns: 'urn:one', name: 'a' })
    expect(root.children).toMatchObject([
      { ns: 'urn:two', name: 'b', attrs: { c: '1 & 2' } },
      { ns: 'urn:one', name: 'd', text: '5.00' },
    ])
  })

  it('keeps values as written', () => {
    const root = parse('<a><b> 0001.10 </b><c><![CDATA[1 < 2 ]]>&#228;&#x20AC;</c><d>true</d><e>1e5</e></a>')
    expect(root.children.map((child) => child.text)).toEqual(['0001.10', '1 < 2 ä€', 'true', '1e5'])
  })

  it('reads byte order marks and declared encodings', () => {
    expect(parseXml(new Uint8Array([0xef, 0xbb, 0xbf, ...bytes('<?xml version="1.0"?><a>ä</a>')])).text).toBe('ä')
    expect(parseXml(Buffer.from('\ufeff<a>ä</a>', 'utf16le')).text).toBe('ä')
    expect(parseXml(Buffer.from('<?xml version="1.0" encoding="ISO-8859-1"?><a>ä</a>', 'latin1')).text).toBe('ä')
  })

  it.each([
    ['an entity bomb', '<!DOCTYPE a [<!ENTITY b "bbbbbbbb"><!ENTITY c "&b;&b;&b;">]><a>&c;</a>'],
    ['an external entity', '<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>'],
    ['an undeclared entity', '<a>&nbsp;</a>'],
    ['a character that is none', '<a>&#xD800;</a>'],
    ['an undeclared prefix', '<x:a/>'],
    ['a tag that is not closed', '<a><b></a>'],
    ['two roots', '<a/><b/>'],
    ['nothing', ''],
    ['no XML', 'hello'],
    ['a name that attacks prototypes', '<a><__proto__>1</__proto__></a>'],
    ['deep nesting', '<a>'.repeat(XML_LIMITS.depth + 2) + '</a>'.repeat(XML_LIMITS.depth + 2)],
    ['very deep nesting', '<a>'.repeat(20_000) + '</a>'.repeat(20_000)],
    ['too many elements', `<a>${'<b/>'.repeat(XML_LIMITS.elements + 1)}</a>`],
  ])('refuses %s', (_what, text) => {
    expect(() => parse(text)).toThrow(XmlRefused)
  })

  it('refuses bytes that are not of their encoding, and too many', () => {
    expect(() => parseXml(new Uint8Array([...bytes('<a>'), 0xff, ...bytes('</a>')]))).toThrow(/utf-8/)
    expect(() => parseXml(new Uint8Array(XML_LIMITS.bytes + 1))).toThrow(XmlRefused)
  })
})
