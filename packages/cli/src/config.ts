import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { ConvokeError, type ConvokeOptions } from 'convoke'

const names = ['convoke.config.ts', 'convoke.config.js', 'convoke.config.mjs']

export interface Config {
  readonly file: string
  readonly options: ConvokeOptions
  /** What the file exports as `mcp`: what `mcpTools` of `@convoke/mcp` gave. */
  readonly mcp?: McpSource
}

/** Of `McpTools` in `@convoke/mcp`, what is looked at here: the command line needs no protocol. */
export interface McpSource {
  readonly servers: readonly {
    readonly name: string
    readonly error?: ConvokeError
    readonly tools: readonly McpKnown[]
  }[]
  readonly quarantined: readonly McpQuarantined[]
  accept(decision: { readonly tool: string; readonly hash: string; readonly by: string }): Promise<void>
  close(): Promise<void>
}

export interface McpKnown {
  readonly tool: string
  readonly name: string
  readonly state: 'accepted' | 'quarantined' | 'refused' | 'gone'
  readonly hash: string
  readonly effect: string
  readonly accepted?: { readonly by: string; readonly at: string; readonly hash: string }
  readonly why?: string
}

export interface McpQuarantined {
  readonly tool: string
  readonly reasons: readonly string[]
  readonly rivals: readonly string[]
  readonly difference: string
  readonly hash: string
}

/** The file that was named, or the nearest one from `cwd` upward. */
export function findConfig(cwd: string, named: string | undefined): string | undefined {
  if (named !== undefined) {
    const file = resolve(cwd, named)
    if (existsSync(file)) return file
    throw new ConvokeError('CONFIG_MISSING', `${file} does not exist`, {
      details: { file },
      next: 'name the file with --app, or leave --app out',
    })
  }
  for (let dir = cwd; ; dir = dirname(dir)) {
    const found = names.map((name) => join(dir, name)).find((file) => existsSync(file))
    if (found !== undefined) return found
    if (dirname(dir) === dir) return undefined
  }
}

/** @throws CONFIG_MISSING, CONFIG_INVALID */
export async function loadConfig(cwd: string, named: string | undefined): Promise<Config> {
  const file = findConfig(cwd, named)
  if (file === undefined)
    throw new ConvokeError('CONFIG_MISSING', `no convoke.config.ts in ${cwd} or above it`, {
      details: { cwd },
      next: 'write one that exports `config = defineConfig({ workflows: { … } })`, or name it with --app FILE',
    })
  let module: { readonly config?: unknown; readonly default?: unknown; readonly mcp?: unknown }
  try {
    module = (await import(pathToFileURL(file).href)) as typeof module
  } catch (error) {
    throw new ConvokeError('CONFIG_INVALID', `${file} cannot be loaded: ${messageOf(error)}`, {
      details: { file },
      next: `look at what it throws: node ${file}`,
      cause: error,
    })
  }
  const options = module.config ?? module.default
  const wrong =
    typeof options !== 'object' || options === null
      ? 'it exports no `config`'
      : typeof (options as ConvokeOptions).workflows !== 'object'
        ? 'its config names no workflows'
        : undefined
  if (wrong !== undefined)
    throw new ConvokeError('CONFIG_INVALID', `${file} is not a configuration: ${wrong}`, {
      details: { file },
      next: "export const config = defineConfig({ workflows: { … } }), with defineConfig from 'convoke'",
    })
  const { mcp } = module
  return { file, options: options as ConvokeOptions, ...(isSource(mcp) ? { mcp } : {}) }
}

function isSource(mcp: unknown): mcp is McpSource {
  const { servers, quarantined, accept, close } = (mcp ?? {}) as Partial<McpSource>
  return (
    Array.isArray(servers) && Array.isArray(quarantined) && typeof accept === 'function' && typeof close === 'function'
  )
}

/** Ends what loading a configuration has started: its servers would keep this process alive. */
export async function closeConfig(config: Config | undefined): Promise<void> {
  try {
    await config?.options.onClose?.()
  } finally {
    await config?.mcp?.close()
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/**
 * For commands that can do without: what the configuration says of the options that are needed, where it says any of
 * them. A file that does not mention them, nor takes anything from other files of its own, is not run; one that cannot
 * be loaded says nothing, unless it was named.
 */
export async function hintsFrom(
  cwd: string,
  named: string | undefined,
  needed: readonly ('store' | 'tenant' | 'redact' | 'agents' | 'tools')[],
): Promise<Config | undefined> {
  const file = findConfig(cwd, named)
  if (file === undefined || needed.length === 0) return undefined
  const text = readFileSync(file, 'utf8')
  const elsewhere = /\bfrom\s*['"]\.|\bimport\s*\(/
  if (!elsewhere.test(text) && !new RegExp(`\\b(${needed.join('|')})\\b`).test(text)) return undefined
  try {
    return await loadConfig(cwd, file)
  } catch (error) {
    if (named !== undefined) throw error
    return undefined
  }
}
