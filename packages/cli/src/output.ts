import { ConvokeError, shownAddress, type ErrorData } from 'convoke'
import { type Style } from 'convoke/views'
import picocolors from 'picocolors'

export type Format = 'text' | 'json' | 'jsonl'

/** Data goes to stdout, everything else to stderr. */
export interface Output {
  readonly format: Format
  /** How stdout is painted, and stderr. */
  readonly style: Style
  readonly errStyle: Style
  /** Whether a person sits at both ends and can be asked. */
  readonly interactive: boolean
  /** Columns of stdout when it is a terminal; 0 for no limit. */
  readonly width: number
  /** One result: itself as JSON, or its text. */
  data(value: unknown, text: () => string): void
  /** Many: an array, one object a line, or their text. */
  list(items: readonly unknown[], text: () => string): void
  /** For people who watch; nothing that a program needs. */
  note(text: string): void
  error(error: ConvokeError): void
}

type Env = Readonly<Record<string, string | undefined>>

export function mayColor(stream: { readonly isTTY?: boolean }, env: Env): boolean {
  const says = (name: string): boolean => env[name] !== undefined && env[name] !== '' && env[name] !== '0'
  return stream.isTTY === true && !says('NO_COLOR') && !says('CI') && env['TERM'] !== 'dumb'
}

export function styleFor(color: boolean): Style {
  const c = picocolors.createColors(color)
  return { strong: c.bold, faint: c.dim, good: c.green, bad: c.red, warn: c.yellow }
}

/** Where the store and the rest are, as said on the command line of this invocation. */
export interface Where {
  readonly store?: string
  readonly tenant?: string
  readonly app?: string
}

const groups = 'approvals|audit|mcp|policy|store'
const command = new RegExp(
  String.raw`((?<!npx )\bconvoke |\bnpx convoke )` +
    String.raw`((?:run|resume|worker|runs|show|watch|why|fork|stop|doctor|migrate)\b|(?:${groups})(?: [a-z]+)?\b)( --help)?`,
  'g',
)

/**
 * A command that is named to people, as they can type it: who came by npx has no `convoke` in their path, and who said
 * where the store is has to say it again.
 */
export function asTyped(text: string, env: Env, where: Where = {}): string {
  const again = optionsOf(where)
  return text.replace(command, (_, program: string, words: string, help?: string) => {
    const npx = program.startsWith('npx') || env['npm_command'] === 'exec'
    return `${npx ? 'npx ' : ''}convoke ${words}${help ?? again}`
  })
}

function optionsOf(where: Where): string {
  return (['store', 'tenant', 'app'] as const)
    .flatMap((name) => {
      const value = where[name]
      // A password is not for terminals to keep; whoever has one in an address best puts it into CONVOKE_STORE.
      if (value === undefined || (name === 'store' && shownAddress(value) !== value)) return []
      return [` --${name} ${/^[\w./:@=+~-]+$/.test(value) ? value : `'${value.replaceAll("'", String.raw`'\''`)}'`}`]
    })
    .join('')
}

export function createOutput(
  format: Format,
  io: { readonly out: NodeJS.WriteStream; readonly err: NodeJS.WriteStream; readonly in: NodeJS.ReadStream },
  env: Env,
  where: Where = {},
): Output {
  const style = styleFor(format === 'text' && mayColor(io.out, env))
  const errStyle = styleFor(mayColor(io.err, env))
  const write = (text: string): void => void io.out.write(text === '' || text.endsWith('\n') ? text : `${text}\n`)
  return {
    format,
    style,
    errStyle,
    interactive: io.in.isTTY === true && io.err.isTTY === true && (env['CI'] ?? '') === '',
    width: io.out.isTTY === true ? io.out.columns : 0,
    data(value, text) {
      if (format === 'text') write(text())
      else write(JSON.stringify(value, null, format === 'json' ? 2 : undefined))
    },
    list(items, text) {
      if (format === 'text') write(text())
      else if (format === 'json') write(JSON.stringify(items, null, 2))
      else for (const item of items) write(JSON.stringify(item))
    },
    note: (text) => void io.err.write(`${asTyped(text, env, where)}\n`),
    error(error) {
      if (format === 'text') io.err.write(`${asTyped(errorText(error, errStyle), env, where)}\n`)
      else io.err.write(`${JSON.stringify({ error: withCause(error) })}\n`)
    },
  }
}

function withCause(error: ConvokeError): ErrorData & { readonly cause?: string } {
  const cause = causeOf(error)
  return { ...error.toJSON(), ...(cause === undefined ? {} : { cause }) }
}

function errorText(error: ConvokeError, style: Style): string {
  const cause = causeOf(error)
  return [
    `${style.bad(error.code)}  ${error.message}`,
    ...(cause === undefined ? [] : [`  because  ${cause}`]),
    ...(error.next === undefined ? [] : [`  next     ${error.next}`]),
  ].join('\n')
}

/** The cause, when it says something that the message does not. */
function causeOf(error: ConvokeError): string | undefined {
  const { cause } = error
  if (!(cause instanceof Error) || cause.message === '' || error.message.includes(cause.message)) return undefined
  const code = cause instanceof ConvokeError ? `${cause.code}: ` : ''
  return code + cause.message
}

/**
 * Columns under their headings, as wide as what stands in them. The last one is cut to the terminal's width; `paint`
 * colours a cell after it was padded.
 */
export function table(
  headings: readonly string[],
  rows: readonly (readonly string[])[],
  style: Style,
  width = 0,
  paint: (cell: string, column: number) => string = (cell) => cell,
): string {
  const widths = headings.map((heading, i) => Math.max(heading.length, ...rows.map((row) => (row[i] ?? '').length)))
  const last = headings.length - 1
  const before = widths.slice(0, last).reduce((sum, w) => sum + w + 2, 0)
  const room = width === 0 ? Infinity : Math.max(12, width - before)
  const cellOf = (text: string, i: number): string => {
    if (i < last) return text.padEnd(widths[i] ?? 0)
    return text.length > room ? `${text.slice(0, room - 1)}…` : text
  }
  const lineOf = (cells: readonly string[], dress: (cell: string, i: number) => string): string =>
    cells
      .map((cell, i) => dress(cellOf(cell, i), i))
      .join('  ')
      .trimEnd()
  return [lineOf(headings, (cell) => style.faint(cell)), ...rows.map((row) => lineOf(row, paint))].join('\n')
}

/** `3 s ago`, `5 min ago`, `2 h ago`, else the day. */
export function ago(at: number, now: number): string {
  const s = Math.floor((now - at) / 1000)
  if (s < 0) return `in ${span(-s)}`
  return s < 1 ? 'now' : s < 7 * 86_400 ? `${span(s)} ago` : new Date(at).toISOString().slice(0, 10)
}

function span(s: number): string {
  if (s < 60) return `${s} s`
  if (s < 3600) return `${Math.floor(s / 60)} min`
  return s < 172_800 ? `${Math.floor(s / 3600)} h` : `${Math.floor(s / 86_400)} d`
}
