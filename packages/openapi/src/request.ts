import type { Json, JsonObject, ToolContext } from 'convoke'
import { encodeBody, type RequestBody } from './body.ts'
import type { Operation, Parameter } from './operation.ts'
import { cookiePairs, encode, entriesOf, headerText, pathText, queryPairs, wrong } from './parameters.ts'
import { isObject, member } from './shape.ts'

/** What a call sends, before anybody is authenticated. */
export interface Draft {
  readonly method: string
  /** Base, path and literal query of the operation. */
  readonly address: string
  readonly query: (readonly [string, string])[]
  readonly headers: Headers
  readonly cookies: (readonly [string, string])[]
  readonly body: RequestBody | undefined
}

/** A value that the app gives in place of the caller: fixed, or made at each call. */
export type Fill = Json | ((context: ToolContext) => Json)

/**
 * Writes an operation's request.
 * @throws TOOL_INPUT_INVALID for a value that cannot travel where its parameter stands
 */
export async function draft(
  operation: Operation,
  base: string,
  input: JsonObject,
  fills: ReadonlyMap<Parameter, Fill>,
  context: ToolContext,
): Promise<Draft> {
  const headers = new Headers()
  const query: (readonly [string, string])[] = []
  const cookies: (readonly [string, string])[] = []
  const path = new Map<string, string>()
  for (const parameter of operation.parameters) {
    const fill = fills.get(parameter)
    const value =
      fill === undefined ? member(input, parameter.argument) : typeof fill === 'function' ? fill(context) : fill
    if (value === undefined) continue
    switch (parameter.in) {
      case 'path':
        path.set(parameter.name, pathText(parameter, value, parameter.segments || parameter.allowReserved))
        break
      case 'query':
        query.push(...queryPairs(parameter, value))
        break
      case 'querystring':
        query.push(...entriesOf(value).flatMap(([name, part]) => queryPairs({ ...plainForm, name }, part)))
        break
      case 'header':
        headers.set(parameter.name, headerText(parameter, value))
        break
      case 'cookie':
        cookies.push(...cookiePairs(parameter, value))
        break
    }
  }
  const { address, literal } = addressOf(operation.path, base, path)
  const body = await encodeBody(operation.body, member(input, 'body'), headers, context)
  headers.set('accept', acceptOf(operation))
  return { method: operation.method, address, query: [...literal, ...query], headers, cookies, body }
}

const plainForm = { style: 'form', explode: true, allowReserved: false, media: undefined } as const

/** Puts values into a path, and makes sure that they stayed in it. */
function addressOf(
  template: string,
  base: string,
  values: ReadonlyMap<string, string>,
): { readonly address: string; readonly literal: readonly (readonly [string, string])[] } {
  // A fragment is never sent; documents use it to tell operations of one address apart.
  const [whole = '/'] = template.split('#')
  const [path = '/', search = ''] = whole.split('?')
  const filled = path.replace(/\{([^{}]+)\}/g, (_, name: string) => values.get(name) ?? '')
  const address = `${base}${filled}`
  const url = new URL(address)
  const expected = new URL(`${base}${path.replace(/\{[^{}]+\}/g, 'x')}`)
  const depth = (pathname: string): number => pathname.split('/').length
  const slashes = (text: string): number => text.split('/').length - 1
  const added = [...values.values()].reduce((sum, value) => sum + slashes(value), 0)
  if (url.origin !== expected.origin || depth(url.pathname) !== depth(expected.pathname) + added)
    throw wrong({ argument: 'the path' }, 'would lead elsewhere')
  const literal = [...new URLSearchParams(search)].map(([name, value]) => [encode(name), encode(value)] as const)
  return { address: `${url.origin}${url.pathname}`, literal }
}

function acceptOf(operation: Operation): string {
  const media = operation.answers.flatMap((answer) => answer.media ?? [])
  return media.length === 0 ? '*/*' : `${[...new Set(media)].slice(0, 8).join(', ')}, */*;q=0.1`
}

/** The address with its query, and the cookies as a header. */
export function finish(d: Draft): { readonly url: string; readonly init: RequestInit } {
  const search = d.query.map(([name, value]) => (value === '' ? `${name}=` : `${name}=${value}`)).join('&')
  const headers = new Headers(d.headers)
  if (d.cookies.length > 0) headers.set('cookie', d.cookies.map(([name, value]) => `${name}=${value}`).join('; '))
  return {
    url: search === '' ? d.address : `${d.address}?${search}`,
    init: { method: d.method, headers, ...(d.body === undefined ? {} : { body: d.body }) },
  }
}

export function inputOf(value: unknown): JsonObject {
  return isObject(value as Json) ? (value as JsonObject) : {}
}
