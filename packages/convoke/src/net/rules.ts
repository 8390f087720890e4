import type { BlockList } from 'node:net'
import { ConvokeError } from '../core/errors.ts'
import type { NetworkRules } from '../ports/network.ts'
import { effective, kindOf, listOf, within, type AddressKind } from './address.ts'

/** Rules that were read once. */
export interface Admission {
  /** Tells pools of connections apart: what one set of rules opened, another may not use. */
  readonly key: string
  /** @throws NETWORK_DENIED for an address that needs no look-up to be refused */
  url(url: URL): void
  /** Why a host may not be connected to at this address. */
  refuses(address: string): AddressKind | undefined
}

const known = new Map<string, Admission>()
/** Hosts that a set of rules remembers; tools call few, and whatever comes after them is looked at each time. */
const maxPassed = 100

/** Reads rules; the same rules give the same object. @throws DEFINITION_INVALID */
export function admission(rules: NetworkRules): Admission {
  const key = JSON.stringify([rules.hosts ?? null, [...new Set(rules.inside)].sort()])
  let made = known.get(key)
  if (made === undefined) {
    made = make(rules, key)
    // Rules come from tools' definitions, so there are few; a program that makes them up may not fill the memory.
    if (known.size < 10_000) known.set(key, made)
  }
  return made
}

function make(rules: NetworkRules, key: string): Admission {
  const hosts = rules.hosts?.map(hostRule)
  const inside = insideOf(rules.inside ?? [])
  const refuses = (address: string): AddressKind | undefined => {
    const kind = kindOf(address)
    if (kind === 'public') return undefined
    if (kind === 'metadata' || kind === 'invalid') return kind
    if (inside.kinds.has(kind)) return undefined
    return within(inside.list, effective(address)) ? undefined : kind
  }
  // Hosts that passed, as URLs write them with protocol and port: the same question has the same answer, since neither the
  // rules nor what an address is change. What a name leads to is asked at each connection.
  const passed = new Set<string>()
  return {
    key,
    refuses,
    url(url) {
      const place = `${url.protocol}//${url.host}`
      if (passed.has(place) && url.username === '' && url.password === '') return
      if (url.protocol !== 'http:' && url.protocol !== 'https:')
        throw denied(url, `${url.protocol} is not http or https`)
      if (url.username !== '' || url.password !== '') throw denied(url, 'it carries a user or a password')
      const host = hostOf(url)
      if (host === '' || host.split('.').includes('')) throw denied(url, 'it names no host')
      const port = portOf(url)
      if (badPorts.has(port)) throw denied(url, `port ${port} belongs to another protocol`)
      if (hosts !== undefined && !hosts.some((rule) => rule(host, port)))
        throw denied(url, 'the tool may not call this host')
      if (isLiteral(host)) {
        const kind = refuses(host)
        if (kind !== undefined) throw denied(url, `its address is ${kind}`)
      }
      if (passed.size < maxPassed) passed.add(place)
    },
  }
}

/** The host as URLs write it, without the dot at its end and without brackets. */
export function hostOf(url: URL): string {
  return url.hostname.replace(/^\[(.*)\]$/, '$1').replace(/\.$/, '')
}

export function portOf(url: URL): number {
  return url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port)
}

export function isLiteral(host: string): boolean {
  return host.includes(':') || /^\d+\.\d+\.\d+\.\d+$/.test(host)
}

type HostRule = (host: string, port: number) => boolean

function hostRule(text: string): HostRule {
  const wild = text.startsWith('*.')
  const url = /[/@?#\\\s]/.test(text) ? null : URL.parse(`http://${wild ? text.slice(2) : text}`)
  if (url === null || hostOf(url) === '' || url.hostname.includes('*'))
    throw new ConvokeError('DEFINITION_INVALID', `network: ${JSON.stringify(text)} is no host`, {
      next: 'write api.example.com, *.example.com or erp.corp:8443',
    })
  const name = hostOf(url)
  // `http:` hides port 80, so a port is looked for in what was written.
  const port = /:(\d+)$/.exec(text.replace(/^\[.*\]/, ''))?.[1]
  return (host, at) => (wild ? host.endsWith(`.${name}`) : host === name) && (port === undefined || Number(port) === at)
}

function insideOf(texts: readonly string[]): { readonly kinds: ReadonlySet<AddressKind>; readonly list: BlockList } {
  const kinds = new Set<AddressKind>()
  const cidrs: string[] = []
  for (const text of texts)
    if (text === 'loopback' || text === 'private') kinds.add(text)
    else cidrs.push(text.includes('/') ? text : `${text}/${text.includes(':') ? 128 : 32}`)
  try {
    return { kinds, list: listOf(cidrs) }
  } catch (error) {
    throw new ConvokeError('DEFINITION_INVALID', `network: ${(error as Error).message}`, {
      next: "write 'loopback', 'private' or a range such as 10.1.0.0/16",
    })
  }
}

/** Says what may not be called and why, and neither its query nor what its name resolves to. Nothing was sent. */
export function denied(url: URL, why: string): ConvokeError {
  const host = hostOf(url).slice(0, 253).toWellFormed()
  return new ConvokeError('NETWORK_DENIED', `${url.protocol}//${host} may not be called: ${why}`, {
    details: { host, why, sent: false },
    next: "call another address, or let the tool's network rules allow this one",
  })
}

/** The Fetch standard's list of ports that a web client has no business with (https://fetch.spec.whatwg.org/#port-blocking). */
const badPorts = new Set([
  0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109, 110,
  111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531, 532,
  540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061,
  6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
])
