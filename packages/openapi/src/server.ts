import { ConvokeError, type Json } from 'convoke'
import { invalid } from './document.ts'
import { listOf, member, objectOf, textOf } from './shape.ts'

/** Which of the document's servers, with which variables; or an address of the app's own. */
export type ServerChoice =
  | string
  | (() => string | Promise<string>)
  | {
      /** The document's first unless said. */
      readonly index?: number
      readonly variables?: Readonly<Record<string, string>>
      /** Against which a relative address of the document is resolved. */
      readonly base?: string
    }

/** Gives the base address, without a slash at its end. */
export type Server = () => Promise<string>

/**
 * Settles which server an operation goes to. An address that the app gives as a function is asked for at every call.
 * @throws OPENAPI_INVALID for a server that is none, an unknown variable or a value outside its list
 */
export function serverOf(
  servers: readonly Json[],
  choice: ServerChoice | undefined,
): { readonly url: Server; readonly fixed: URL | undefined } {
  if (typeof choice === 'function') return { url: async () => trimmed(absolute(await choice())), fixed: undefined }
  const fixed = typeof choice === 'string' ? absolute(choice) : fromDocument(servers, choice ?? {})
  return { url: () => Promise.resolve(trimmed(fixed)), fixed }
}

function fromDocument(servers: readonly Json[], choice: Exclude<ServerChoice, string | (() => unknown)>): URL {
  const server = servers[choice.index ?? 0]
  const template = textOf(member(server, 'url'))
  if (template === undefined) throw invalid(`it has no server ${choice.index ?? 0}`, [])
  const variables = objectOf(member(server, 'variables'))
  for (const name of Object.keys(choice.variables ?? {}))
    if (!Object.hasOwn(variables, name)) throw invalid(`its server has no variable ${name}`, [])
  const text = template.replace(/\{([^{}]+)\}/g, (_, name: string) => {
    const variable = member(variables, name)
    const value = choice.variables?.[name] ?? textOf(member(variable, 'default'))
    if (value === undefined) throw invalid(`variable ${name} of its server has no value`, [])
    const allowed = listOf(member(variable, 'enum'))
    if (allowed.length > 0 && !allowed.includes(value)) throw invalid(`${name} of its server cannot be ${value}`, [])
    return value
  })
  return absolute(text, choice.base)
}

function absolute(text: string, base?: string): URL {
  const url = URL.parse(text, base)
  if (url === null)
    throw new ConvokeError('OPENAPI_INVALID', `${JSON.stringify(text.slice(0, 200))} is no address of a server`, {
      details: { url: text.slice(0, 200).toWellFormed() },
      next: 'say which server is meant: server: "https://…"',
    })
  if (!['http:', 'https:'].includes(url.protocol) || url.username !== '' || url.password !== '')
    throw invalid(`its server must be an http or https address without a user`, [])
  return url
}

function trimmed(url: URL): string {
  return `${url.origin}${url.pathname.replace(/\/+$/, '')}`
}
