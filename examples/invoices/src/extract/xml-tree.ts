import { XMLParser, XMLValidator } from 'fast-xml-parser'

/** One element, its name resolved to namespace and local name; `text` is its own character data, trimmed. */
export interface XmlElement {
  readonly ns: string
  readonly name: string
  readonly attrs: Readonly<Record<string, string>>
  readonly children: readonly XmlElement[]
  readonly text: string
}

/** Why a document was not read, in words for a person. */
export class XmlRefused extends Error {
  override readonly name = 'XmlRefused'
}

export const XML_LIMITS = { bytes: 8 * 1024 * 1024, elements: 200_000, depth: 64 } as const

const parser = new XMLParser({
  preserveOrder: true,
  ignoreAttributes: false,
  attributeNamePrefix: '',
  parseTagValue: false,
  parseAttributeValue: false,
  trimValues: false,
  // Entities are decoded below, so that nothing a document declares is ever expanded.
  processEntities: false,
  ignoreDeclaration: true,
  ignorePiTags: true,
})

type RawNode = Record<string, unknown>

/**
 * Parses XML into elements whose prefixes are resolved (prefixes are free, namespaces are not). Values stay strings.
 * A document type declaration is refused: no invoice format has one, and it is the door for entity attacks.
 * @throws XmlRefused when it is too large, too deep, badly encoded or not well-formed.
 */
export function parseXml(bytes: Uint8Array): XmlElement {
  if (bytes.byteLength > XML_LIMITS.bytes) throw new XmlRefused(`larger than ${XML_LIMITS.bytes} bytes`)
  const text = decodeBytes(bytes)
  if (/<!DOCTYPE/i.test(text)) throw new XmlRefused('it has a document type declaration, which is refused')
  const valid = XMLValidator.validate(text)
  if (valid !== true) throw new XmlRefused(`not well-formed: ${valid.err.msg} (line ${valid.err.line})`)
  let raw: unknown
  try {
    raw = parser.parse(text)
  } catch (cause) {
    throw new XmlRefused(`not well-formed: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
  }
  const budget = { left: XML_LIMITS.elements }
  const roots = elements(raw, new Map([['xml', 'http://www.w3.org/XML/1998/namespace']]), 0, budget)
  const root = roots[0]
  if (root === undefined || roots.length !== 1) throw new XmlRefused('it has no single root element')
  return root
}

function elements(
  raw: unknown,
  scope: ReadonlyMap<string, string>,
  depth: number,
  budget: { left: number },
): XmlElement[] {
  if (!Array.isArray(raw)) return []
  if (depth > XML_LIMITS.depth) throw new XmlRefused(`nested deeper than ${XML_LIMITS.depth} elements`)
  const out: XmlElement[] = []
  for (const node of raw as RawNode[]) {
    const tag = Object.keys(node).find((key) => key !== ':@' && key !== '#text')
    if (tag === undefined) continue
    if (--budget.left < 0) throw new XmlRefused(`more than ${XML_LIMITS.elements} elements`)
    const attrs: Record<string, string> = {}
    let inner = scope
    for (const [key, value] of Object.entries((node[':@'] ?? {}) as Record<string, unknown>)) {
      const decoded = decodeEntities(String(value))
      if (key === 'xmlns' || key.startsWith('xmlns:')) inner = new Map(inner).set(key.slice(6), decoded)
      else attrs[key] = decoded
    }
    const colon = tag.indexOf(':')
    const prefix = colon < 0 ? '' : tag.slice(0, colon)
    const ns = inner.get(prefix)
    if (ns === undefined && prefix !== '') throw new XmlRefused(`the prefix ${prefix} is not declared`)
    const content = node[tag]
    const text = Array.isArray(content)
      ? (content as RawNode[]).map((part) => (typeof part['#text'] === 'string' ? part['#text'] : '')).join('')
      : ''
    out.push({
      ns: ns ?? '',
      name: tag.slice(colon + 1),
      attrs,
      children: elements(content, inner, depth + 1, budget),
      text: decodeEntities(text).trim(),
    })
  }
  return out
}

/** Byte order mark first, then the declaration, then UTF-8 (XML 1.0, appendix F). */
function decodeBytes(bytes: Uint8Array): string {
  let encoding = 'utf-8'
  if (bytes[0] === 0xfe && bytes[1] === 0xff) encoding = 'utf-16be'
  else if (bytes[0] === 0xff && bytes[1] === 0xfe) encoding = 'utf-16le'
  else if (!(bytes[0] === 0xef && bytes[1] === 0xbb)) {
    const head = new TextDecoder('latin1').decode(bytes.subarray(0, 200))
    encoding = /^\s*<\?xml[^>]*\bencoding\s*=\s*["']([\w.-]+)["']/.exec(head)?.[1] ?? 'utf-8'
  }
  try {
    return new TextDecoder(encoding, { fatal: true }).decode(bytes)
  } catch (cause) {
    throw new XmlRefused(`its bytes are not ${encoding}`, { cause })
  }
}

const PREDEFINED: Readonly<Record<string, string>> = { lt: '<', gt: '>', amp: '&', quot: '"', apos: "'" }

/** The five predefined entities and character references; any other name is undeclared, as there is no DTD. */
function decodeEntities(text: string): string {
  if (!text.includes('&')) return text
  return text.replace(/&(#x[0-9a-fA-F]{1,6}|#\d{1,7}|[A-Za-z_][\w.-]*);/g, (whole, ref: string) => {
    if (!ref.startsWith('#')) {
      const known = Object.hasOwn(PREDEFINED, ref) ? PREDEFINED[ref] : undefined
      if (known === undefined) throw new XmlRefused(`the entity ${whole} is not declared`)
      return known
    }
    const code = ref[1] === 'x' ? Number.parseInt(ref.slice(2), 16) : Number(ref.slice(1))
    if (code === 0 || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
      throw new XmlRefused(`${whole} is no character`)
    return String.fromCodePoint(code)
  })
}
