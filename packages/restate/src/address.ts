import { ConvokeError } from 'convoke/adapter'

/** Where the engine is and where it finds the workers of this machine, as an address says it. */
export interface Target {
  /** Base addresses: `http://host:port`. */
  readonly ingress: string
  readonly admin: string
  readonly listen: { readonly host: string; readonly port: number }
  readonly advertise?: string
}

const known = ['admin', 'listen', 'advertise', 'tls']

/**
 * `restate://host[:8080][?admin=host:9070][&listen=127.0.0.1:9080][&advertise=http://host:9080][&tls=true]`. The
 * administration is on the same host unless said.
 * @throws ENGINE_UNKNOWN
 */
export function parseAddress(address: string): Target {
  const url = URL.parse(address)
  if (url === null || url.protocol !== 'restate:' || url.hostname === '') throw unknown(address, 'it names no host')
  if (url.username !== '' || url.password !== '') throw unknown(address, 'it names a user, and Restate has none')
  if (url.pathname !== '' && url.pathname !== '/') throw unknown(address, `there is nothing at ${url.pathname}`)
  const strange = [...url.searchParams.keys()].find((name) => !known.includes(name))
  if (strange !== undefined) throw unknown(address, `it has ${strange}; there are ${known.join(', ')}`)
  const scheme = url.searchParams.get('tls') === 'true' ? 'https' : 'http'
  const listen = hostAndPort(address, url.searchParams.get('listen') ?? '127.0.0.1:9080', 9080)
  const admin = hostAndPort(address, url.searchParams.get('admin') ?? url.hostname, 9070)
  const advertise = url.searchParams.get('advertise')
  if (advertise !== null && !/^https?:\/\/[^/]/.test(advertise))
    throw unknown(address, 'advertise is a base address: http://host:port')
  return {
    ingress: `${scheme}://${url.hostname}:${url.port === '' ? 8080 : url.port}`,
    admin: `${scheme}://${bracketed(admin.host)}:${admin.port}`,
    listen,
    ...(advertise === null ? {} : { advertise }),
  }
}

function hostAndPort(address: string, text: string, port: number): { readonly host: string; readonly port: number } {
  const url = URL.parse(`tcp://${text}`)
  if (url === null || url.hostname === '' || url.pathname !== '')
    throw unknown(address, `${JSON.stringify(text)} is no host:port`)
  return { host: url.hostname.replace(/^\[|\]$/g, ''), port: url.port === '' ? port : Number(url.port) }
}

function bracketed(host: string): string {
  return host.includes(':') ? `[${host}]` : host
}

function unknown(address: string, why: string): ConvokeError {
  // Whatever stands before the host may be a password.
  const engine = address.replace(/\/\/[^@/?#]*@/, '//…@')
  return new ConvokeError('ENGINE_UNKNOWN', `${engine} is no address of a Restate: ${why}`, {
    details: { engine },
    next: 'use restate://host:8080, with ?admin=host:9070 when its administration is elsewhere',
  })
}
