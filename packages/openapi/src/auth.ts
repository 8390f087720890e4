import { ConvokeError, type JsonObject, type ToolContext } from 'convoke'
import type { Document } from './document.ts'
import { accessToken, type TokenSource } from './oauth.ts'
import { unsupported, type Operation } from './operation.ts'
import { encode } from './parameters.ts'
import type { Draft } from './request.ts'
import { isObject, member, objectOf, textOf } from './shape.ts'

// Credentials are names of secrets. Their values exist inside a call only: the gateway resolves them when the request
// is made, and takes them out of whatever comes back.

/** Names of secrets, never their values. */
export type Credential =
  | { readonly kind: 'bearer'; readonly secret: string }
  | {
      readonly kind: 'apiKey'
      readonly secret: string
      /** Where it goes; the document says, unless the credential is for all operations. */
      readonly in?: 'header' | 'query' | 'cookie'
      readonly name?: string
    }
  | { readonly kind: 'basic'; readonly user: string; readonly password: string }
  | ({ readonly kind: 'clientCredentials' } & ClientCredentials)

export interface ClientCredentials {
  /** Names of the secrets that hold the client's id and its secret. */
  readonly id: string
  readonly secret: string
  /** The document's unless said. */
  readonly tokenUrl?: string
  /** Those of the operation unless said. */
  readonly scopes?: readonly string[]
  readonly audience?: string
  /** How the client shows who it is: by HTTP Basic (RFC 6749, 2.3.1), unless said. */
  readonly by?: 'basic' | 'body'
}

export function bearer(secret: string): Credential {
  return { kind: 'bearer', secret }
}

export function apiKey(secret: string, where: { in?: 'header' | 'query' | 'cookie'; name?: string } = {}): Credential {
  return { kind: 'apiKey', secret, ...where }
}

/** `user` and `password` are names of secrets. */
export function basic(user: string, password: string): Credential {
  return { kind: 'basic', user, password }
}

export function clientCredentials(options: ClientCredentials): Credential {
  return { kind: 'clientCredentials', ...options }
}

/** One credential for all operations, or one for each of the document's security schemes. */
export type Auth = Credential | Readonly<Record<string, Credential>>

/** What authenticates one operation's requests. */
export interface Authenticator {
  /** Adds credentials. `fresh`: those of before were refused. */
  apply(draft: Draft, context: ToolContext, fresh: boolean): Promise<void>
  /** Whether there is something to renew after a 401. */
  readonly renews: boolean
  /** Origins besides the server's that are asked for tokens. */
  readonly origins: readonly string[]
}

export const nobody: Authenticator = { apply: () => Promise.resolve(), renews: false, origins: [] }

/**
 * Finds the first of an operation's alternatives for which the app has all credentials.
 * @throws OPENAPI_UNSUPPORTED when there is none, or a scheme that cannot be served
 */
export function authenticator(document: Document, operation: Operation, auth: Auth | undefined): Authenticator {
  if (auth !== undefined && isCredential(auth)) return combine([one(operation, auth, undefined, [])])
  const given = auth ?? {}
  const { security } = operation
  if (security.length === 0) return nobody
  const schemes = objectOf(member(member(document.root, 'components'), 'securitySchemes'))
  const served = security.find(
    (alternative) =>
      Object.keys(alternative).length > 0 && Object.keys(alternative).every((name) => Object.hasOwn(given, name)),
  )
  if (served !== undefined)
    return combine(
      Object.entries(served).map(([name, scopes]) =>
        one(operation, given[name] as Credential, objectOf(document.follow(member(schemes, name))), scopes),
      ),
    )
  if (security.some((alternative) => Object.keys(alternative).length === 0)) return nobody
  const wanted = security.map((alternative) => Object.keys(alternative).join(' and ')).join(', or ')
  throw unsupported(operation.id, `it needs credentials for ${wanted}`)
}

function isCredential(auth: Auth): auth is Credential {
  return typeof (auth as { kind?: unknown }).kind === 'string'
}

function combine(parts: readonly Authenticator[]): Authenticator {
  return {
    renews: parts.some((part) => part.renews),
    origins: parts.flatMap((part) => part.origins),
    async apply(draft, context, fresh) {
      for (const part of parts) await part.apply(draft, context, fresh)
    },
  }
}

function one(
  operation: Operation,
  credential: Credential,
  scheme: JsonObject | undefined,
  scopes: readonly string[],
): Authenticator {
  switch (credential.kind) {
    case 'bearer':
      return header(async (context) => `Bearer ${await context.secret(credential.secret)}`)
    case 'basic':
      return header(async (context) => {
        const pair = `${await context.secret(credential.user)}:${await context.secret(credential.password)}`
        const text = Buffer.from(pair, 'utf8').toString('base64')
        context.conceal(text, credential.password)
        return `Basic ${text}`
      })
    case 'apiKey':
      return keyed(operation, credential, scheme)
    case 'clientCredentials': {
      const source = tokenSource(operation, credential, scheme, scopes)
      return {
        ...header(async (context, fresh) => `Bearer ${await accessToken(source, context, fresh)}`),
        renews: true,
        origins: [new URL(source.url).origin],
      }
    }
  }
}

function header(value: (context: ToolContext, fresh: boolean) => Promise<string>): Authenticator {
  return {
    renews: false,
    origins: [],
    async apply(draft, context, fresh) {
      setHeader(draft, 'authorization', await value(context, fresh))
    },
  }
}

function keyed(
  operation: Operation,
  credential: Extract<Credential, { kind: 'apiKey' }>,
  scheme: JsonObject | undefined,
): Authenticator {
  const where = credential.in ?? textOf(member(scheme, 'in'))
  const name = credential.name ?? textOf(member(scheme, 'name'))
  if (name === undefined || (where !== 'header' && where !== 'query' && where !== 'cookie'))
    throw unsupported(operation.id, 'nothing says where its API key goes')
  return {
    renews: false,
    origins: [],
    async apply(draft, context) {
      const value = await context.secret(credential.secret)
      if (where === 'header') setHeader(draft, name, value)
      else replace(where === 'query' ? draft.query : draft.cookies, encode(name), encode(value))
    },
  }
}

function replace(pairs: (readonly [string, string])[], name: string, value: string): void {
  const at = pairs.findIndex(([known]) => known === name)
  if (at >= 0) pairs.splice(at, 1)
  pairs.push([name, value])
}

/** What `Headers` says of a bad value quotes it, and the value is a secret. */
function setHeader(draft: Draft, name: string, value: string): void {
  if (/[^\t\x20-\x7e\x80-\xff]/.test(value))
    throw new ConvokeError('SECRET_MISSING', `the secret for ${name} holds characters that a header cannot`, {
      next: 'look for a line break at its end',
    })
  draft.headers.set(name, value)
}

function tokenSource(
  operation: Operation,
  credential: Extract<Credential, { kind: 'clientCredentials' }>,
  scheme: JsonObject | undefined,
  scopes: readonly string[],
): TokenSource {
  const flow = member(member(scheme, 'flows'), 'clientCredentials')
  const url = credential.tokenUrl ?? (isObject(flow) ? textOf(member(flow, 'tokenUrl')) : undefined)
  const parsed = url === undefined ? null : URL.parse(url)
  if (parsed === null || !['http:', 'https:'].includes(parsed.protocol))
    throw unsupported(operation.id, 'nothing says where its access tokens come from')
  return {
    url: parsed.href,
    id: credential.id,
    secret: credential.secret,
    scopes: credential.scopes ?? scopes,
    audience: credential.audience,
    by: credential.by ?? 'basic',
  }
}
