import { ConvokeError, recordToolAcceptance, systemIds, type JsonObject } from 'convoke'
import { line } from 'convoke/views'
import { closeConfig, loadConfig, type Config, type McpKnown, type McpQuarantined, type McpSource } from '../config.ts'
import { confirm } from '../confirm.ts'
import { clock, osUser, tellStore, withStoreOf, type Context } from '../context.ts'
import { exit } from '../exit.ts'
import { ago, table } from '../output.ts'

/** `convoke mcp`: what MCP servers offer, what of it was accepted, and accepting the rest. */
export interface McpLsOptions {
  readonly difference?: boolean
}

export interface McpAcceptOptions {
  readonly hash?: string
  readonly by?: string
}

/** Of a hash, this much is shown and must at least be named. */
const shownHash = 12

export async function mcpLs(
  context: Context,
  server: string | undefined,
  tool: string | undefined,
  options: McpLsOptions,
): Promise<number> {
  const { out } = context
  return withSource(context, async (source) => {
    const servers = server === undefined ? source.servers : [serverOf(source, server)]
    const listed = servers.map(({ name, error, tools }) => ({
      name,
      ...(error === undefined ? {} : { error: error.toJSON() }),
      tools: (tool === undefined ? tools : [toolOf(source, name, tool)]).map((known) => ({
        ...known,
        ...heldOf(source, known),
      })),
    }))
    const all = listed.flatMap(({ tools }) => tools)
    const held = all.filter(({ difference }) => difference !== undefined)
    const isShown = ({ reasons }: (typeof all)[number]): boolean =>
      tool !== undefined || options.difference === true || reasons?.includes('new') === false
    out.list(listed, () => {
      const differences = held
        .filter(
          ({ reasons }) => tool !== undefined || options.difference === true || reasons?.includes('new') === false,
        )
        .map((one) => differenceText(one as McpQuarantined, context))
      return [...(all.length === 0 ? [] : [rowsText(all, context)]), ...differences].join('\n\n')
    })
    const unreachable = servers.flatMap(({ error }) => error ?? [])
    if (out.format === 'text') {
      for (const error of unreachable) out.error(error)
      const [first] = held
      const [name = '', ...rest] = first?.tool.split('.') ?? []
      const named = `${name} ${quoted(rest.join('.'))}`
      // Whoever accepts has seen what.
      const seen = first !== undefined && isShown(first)
      out.note(
        out.errStyle.faint(
          first === undefined
            ? listed.length === 0
              ? 'no MCP servers'
              : 'nothing waits to be accepted'
            : seen
              ? `next: convoke mcp accept ${named} --hash ${first.hash.slice(0, shownHash)}`
              : `next: convoke mcp ls ${named}`,
        ),
      )
    }
    return unreachable.length > 0 ? exit.unreachable : exit.ok
  })
}

export async function mcpAccept(
  context: Context,
  server: string,
  tool: string,
  options: McpAcceptOptions,
): Promise<number> {
  const { out } = context
  return withSource(context, async (source, config) => {
    const { error } = serverOf(source, server)
    // What cannot be asked cannot be shown.
    if (error !== undefined) throw error
    const known = toolOf(source, server, tool)
    const held = source.quarantined.find((one) => one.tool === known.tool && matches(one.hash, options.hash))
    if (held === undefined) {
      if (known.state !== 'quarantined')
        throw new ConvokeError('TOOL_UNKNOWN', `${known.tool} is not in quarantine: it is ${known.state}`, {
          details: { tool: known.tool, state: known.state },
          next: 'convoke mcp ls',
        })
      throw new ConvokeError('TOOL_QUARANTINED', `${known.tool} is not what was shown as ${options.hash ?? ''}`, {
        details: { tool: known.tool, hash: known.hash, shown: options.hash ?? '' },
        next: `look again: convoke mcp ls ${server} ${quoted(tool)}`,
      })
    }
    if (options.hash === undefined) {
      if (!out.interactive)
        throw new ConvokeError('USAGE', `say which form of ${held.tool} you accept`, {
          details: { tool: held.tool, hash: held.hash },
          next: `convoke mcp ls ${server} ${quoted(tool)}, then --hash with what it shows`,
        })
      out.note(differenceText(held, context))
      if (!(await confirm(out, `accept ${line(held.tool, 200)}?`, false))) {
        out.note('nothing was accepted')
        return exit.failed
      }
    }
    const by = options.by ?? osUser(context.env)
    await record(context, config, { server, known, held, by })
    await source.accept({ tool: held.tool, hash: held.hash, by })
    out.data({ tool: held.tool, hash: held.hash, by }, () => `accepted ${line(held.tool, 200)} ${held.hash} by ${by}`)
    if (out.format === 'text')
      out.note(out.errStyle.faint('workers that read these pins take it up by themselves; commit the pins'))
    return exit.ok
  })
}

/** On the ledger before it takes effect: what is accepted and not on record, nobody can answer for. */
async function record(
  context: Context,
  config: Config,
  its: { readonly server: string; readonly known: McpKnown; readonly held: McpQuarantined; readonly by: string },
): Promise<void> {
  const { server, known, held, by } = its
  const { tool, hash, reasons, rivals, difference } = held
  const was = known.accepted?.hash
  await withStoreOf(context, config, async ({ ledger, tenant, redact }) => {
    await recordToolAcceptance(
      ledger,
      tenant,
      {
        tool,
        server,
        ...(was === undefined ? {} : { was }),
        hash,
        reasons,
        rivals,
        difference,
        by: { kind: 'person', id: by },
        at: clock.now(),
      },
      { salt: systemIds(clock).salt(), redact: (payload) => redact(payload) as JsonObject },
    )
  })
}

async function withSource<T>(context: Context, use: (source: McpSource, config: Config) => Promise<T>): Promise<T> {
  tellStore(context)
  const config = await loadConfig(context.cwd, context.common.app)
  try {
    if (config.mcp === undefined)
      throw new ConvokeError('CONFIG_INVALID', `${config.file} exports no \`mcp\``, {
        details: { file: config.file },
        next: "export const mcp = await mcpTools({ servers, pins }), with mcpTools from '@convoke/mcp'",
      })
    return await use(config.mcp, config)
  } finally {
    await closeConfig(config)
  }
}

function serverOf({ servers }: McpSource, name: string): McpSource['servers'][number] {
  const found = servers.find((server) => server.name === name)
  if (found !== undefined) return found
  const names = servers.map((server) => server.name)
  throw new ConvokeError('TOOL_UNKNOWN', `no MCP server ${JSON.stringify(name)}`, {
    details: { server: name, servers: names },
    next: names.length === 0 ? 'name servers in the configuration' : `use one of: ${names.join(', ')}`,
  })
}

/** By the server's own name for it. Of two of one name, the one that waits. */
function toolOf(source: McpSource, server: string, tool: string): McpKnown {
  const { tools } = serverOf(source, server)
  const named = tools.filter(({ name }) => name === tool)
  const found = named.find(({ state }) => state === 'quarantined') ?? named[0]
  if (found !== undefined) return found
  throw new ConvokeError('TOOL_UNKNOWN', `MCP server ${server} has no tool ${JSON.stringify(tool)}`, {
    details: { server, tool, tools: tools.map(({ name }) => name).slice(0, 100) },
    next: `convoke mcp ls ${server}`,
  })
}

function heldOf(
  { quarantined }: McpSource,
  { tool, hash, state }: McpKnown,
): Partial<Pick<McpQuarantined, 'reasons' | 'rivals' | 'difference'>> {
  const held = state === 'quarantined' ? quarantined.find((one) => one.tool === tool && one.hash === hash) : undefined
  return held === undefined ? {} : { reasons: held.reasons, rivals: held.rivals, difference: held.difference }
}

function matches(hash: string, said: string | undefined): boolean {
  return said === undefined || (said.length >= shownHash && hash.startsWith(said))
}

function rowsText(tools: readonly (McpKnown & Partial<McpQuarantined>)[], { out }: Context): string {
  const now = clock.now()
  return table(
    ['TOOL', 'STATE', 'EFFECT', 'ACCEPTED', 'HASH'],
    tools.map(({ tool, state, reasons, rivals, effect, accepted, hash, why }) => [
      line(tool, 80),
      state +
        (reasons === undefined ? '' : `: ${reasons.join(', ')}`) +
        (rivals === undefined || rivals.length === 0 ? '' : ` (${line(rivals.join(', '), 80)})`) +
        (why === undefined ? '' : `: ${line(why, 80)}`),
      effect,
      accepted === undefined ? 'never' : `${line(accepted.by, 40)}, ${ago(Date.parse(accepted.at), now)}`,
      hash.slice(0, shownHash),
    ]),
    out.style,
    out.width,
    (cell, column) =>
      column === 0
        ? out.style.strong(cell)
        : column === 1
          ? (cell.startsWith('accepted') ? out.style.good : out.style.warn)(cell)
          : cell,
  )
}

/** Invisible characters are written out in it already. */
function differenceText({ tool, reasons, hash, difference }: McpQuarantined, { out: { style } }: Context): string {
  return [
    `${style.strong(line(tool, 200))}  ${style.warn(reasons.join(', '))}  ${hash}`,
    ...difference
      .split('\n')
      .filter((text) => text !== '')
      .map((text) => `  ${text.startsWith('-') ? style.bad(text) : style.good(text)}`),
  ].join('\n')
}

/** A server's names are its own; this one goes into a command that people copy. */
function quoted(name: string): string {
  return /^[A-Za-z0-9._/-]+$/.test(name) ? name : `'${line(name, 200).replaceAll("'", `'\\''`)}'`
}
