import type * as Net from 'node:net'

// Which addresses belong to the public internet: IANA's registries of special-purpose addresses (RFC 6890; IPv4 and
// IPv6, as of 2025), and the addresses where clouds keep the keys of a machine. Pure: nothing is looked up here.

/** Loaded with the first rule or address (3 ms), since most programs have none. */
let loaded: typeof Net | undefined
const net = (): typeof Net => (loaded ??= process.getBuiltinModule('node:net'))

export type AddressKind =
  | 'public'
  | 'unspecified'
  | 'loopback'
  | 'private'
  | 'shared'
  | 'link-local'
  | 'multicast'
  | 'documentation'
  | 'reserved'
  | 'tunnel'
  | 'metadata'
  | 'invalid'

/** The first that holds an address names its kind. */
const ranges: readonly (readonly [kind: AddressKind, ...cidrs: string[]])[] = [
  [
    'metadata',
    // AWS, Azure, GCP, DigitalOcean, OpenStack; ECS and EKS; Alibaba; Oracle; Azure's wire server.
    '169.254.169.254/32',
    '169.254.169.253/32',
    '169.254.170.2/32',
    '169.254.170.23/32',
    '100.100.100.200/32',
    '192.0.0.192/32',
    '168.63.129.16/32',
    'fd00:ec2::254/128',
    'fd00:ec2::253/128',
    'fd00:ec2::23/128',
    'fd20:ce::254/128',
  ],
  ['unspecified', '0.0.0.0/8', '::/128'],
  ['loopback', '127.0.0.0/8', '::1/128'],
  ['private', '10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7'],
  ['shared', '100.64.0.0/10'],
  ['link-local', '169.254.0.0/16', 'fe80::/10', 'fec0::/10'],
  ['multicast', '224.0.0.0/4', 'ff00::/8'],
  ['documentation', '192.0.2.0/24', '198.51.100.0/24', '203.0.113.0/24', '2001:db8::/32', '3fff::/20'],
  // Addresses that hide another one (6to4, Teredo, local NAT64, its relays), so that nobody can say where they lead.
  ['tunnel', '2002::/16', '2001::/32', '64:ff9b:1::/48', '192.88.99.0/24'],
  ['reserved', '192.0.0.0/24', '198.18.0.0/15', '240.0.0.0/4', '2001::/23', '100::/64', '5f00::/16'],
]

interface Lists {
  readonly kinds: readonly { readonly kind: AddressKind; readonly list: Net.BlockList }[]
  readonly globalUnicast: Net.BlockList
}
let made: Lists | undefined

/** Made when the first address is looked at. */
function lists(): Lists {
  return (made ??= {
    kinds: ranges.map(([kind, ...cidrs]) => ({ kind, list: listOf(cidrs) })),
    globalUnicast: listOf(['2000::/3']),
  })
}

/** A set of ranges. @throws RangeError for one that is none */
export function listOf(cidrs: readonly string[]): Net.BlockList {
  const list = new (net().BlockList)()
  for (const cidr of cidrs) {
    const [address = '', bits = ''] = cidr.split('/')
    const family = net().isIP(address)
    if (family === 0 || !/^\d{1,3}$/.test(bits)) throw new RangeError(`${cidr} is no range of addresses`)
    list.addSubnet(address, Number(bits), family === 4 ? 'ipv4' : 'ipv6')
  }
  return list
}

export function within(list: Net.BlockList, address: string): boolean {
  const family = net().isIP(address)
  return family !== 0 && list.check(address, family === 4 ? 'ipv4' : 'ipv6')
}

/** The IPv4 address that an IPv6 address stands for (mapped, or behind the well-known NAT64 prefix), or the same. */
export function effective(address: string): string {
  const plain = address.replace(/%.*$/, '')
  if (net().isIP(plain) !== 6) return plain
  const groups = expand(plain)
  if (groups === undefined) return plain
  const [a, b, c, d, e, f, g = 0, h = 0] = groups
  const isMapped = !a && !b && !c && !d && !e && f === 0xffff
  const isNat64 = a === 0x64 && b === 0xff9b && !c && !d && !e && !f
  return isMapped || isNat64 ? `${g >> 8}.${g & 255}.${h >> 8}.${h & 255}` : plain
}

/** The eight groups of an IPv6 address, read off the one form that URLs give it. */
function expand(address: string): number[] | undefined {
  const host = URL.parse(`http://[${address}]`)?.hostname.slice(1, -1)
  if (host === undefined) return undefined
  const [left = '', right] = host.split('::')
  const part = (text: string): number[] =>
    text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16))
  const [before, after] = [part(left), right === undefined ? [] : part(right)]
  return [...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after]
}

/** What kind of address this is; an IPv4 address inside an IPv6 one counts as itself. */
export function kindOf(address: string): AddressKind {
  const plain = effective(address)
  const family = net().isIP(plain)
  if (family === 0) return 'invalid'
  const { kinds, globalUnicast } = lists()
  for (const { kind, list } of kinds) if (within(list, plain)) return kind
  if (family === 6 && !within(globalUnicast, plain)) return 'reserved'
  return 'public'
}
