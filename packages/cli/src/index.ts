import { CommanderError, type Command } from 'commander'
import { ConvokeError, isConvokeError } from 'convoke'
import type { Common } from './context.ts'
import { exit, exitCodeOf } from './exit.ts'
import { createOutput, type Format, type Output, type Where } from './output.ts'
import { buildProgram } from './program.ts'

/**
 * The command line. `argv` is what follows the program's name; resolves to the exit code: 0 ok, 1 failed, 2 usage,
 * 3 waiting for a person, 4 not allowed, 5 unreachable, 6 over budget, 130 interrupted.
 */
export async function main(argv: readonly string[]): Promise<number> {
  const { env } = process
  const outputIn = (format: Format, where: Where = {}): Output =>
    createOutput(format, { out: process.stdout, err: process.stderr, in: process.stdin }, env, where)
  let out = outputIn(formatIn(argv))
  let code: number = exit.ok
  const program = buildProgram(
    (common: Common) => {
      out = outputIn(common.output ?? 'text', common)
      return { common, cwd: process.cwd(), env, out }
    },
    (done) => {
      code = done
    },
  )
  quiet(program)
  // Whoever reads may have seen enough, which shows only after the last word: `convoke runs | head`.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(code)
  })
  try {
    await program.parseAsync(withHelp(argv), { from: 'user' })
    return code
  } catch (error) {
    if (error instanceof CommanderError) return usage(error, argv, program, out)
    const known = isConvokeError(error) ? error : unexpected(error)
    out.error(known)
    return exitCodeOf(known)
  }
}

/** The format is wanted for errors of the command line itself, too. */
function formatIn(argv: readonly string[]): Format {
  for (const [i, arg] of argv.entries()) {
    const said = arg === '-o' || arg === '--output' ? argv[i + 1] : /^(?:-o|--output=)(json|jsonl)$/.exec(arg)?.[1]
    if (said === 'json' || said === 'jsonl') return said
  }
  return 'text'
}

/** `convoke help fork` is how many begin; `--help` is the command line's own word. */
function withHelp(argv: readonly string[]): string[] {
  return argv[0] === 'help' ? [...argv.slice(1), '--help'] : [...argv]
}

function quiet(command: Command): void {
  command.exitOverride()
  command.configureOutput({ writeErr: () => undefined })
  for (const inner of command.commands) quiet(inner)
}

function usage(error: CommanderError, argv: readonly string[], program: Command, out: Output): number {
  if (error.code === 'commander.helpDisplayed' || error.code === 'commander.version') return exit.ok
  if (error.code === 'commander.help') {
    process.stderr.write(commandOf(argv, program).helpInformation())
    return exit.usage
  }
  const message = error.message.replace(/^error: /, '').trim()
  const command = commandOf(argv, program)
  const path: string[] = []
  for (let at: Command | null = command; at !== null; at = at.parent) path.unshift(at.name())
  out.error(new ConvokeError('USAGE', message, { next: `${path.join(' ')} --help` }))
  return exit.usage
}

/** The command that was meant, as far as the words lead. */
function commandOf(argv: readonly string[], program: Command): Command {
  let command = program
  for (const word of argv) {
    const inner = command.commands.find((c) => c.name() === word)
    if (inner === undefined) break
    command = inner
  }
  return command
}

/** An error without a code is one of ours; its stack is what a report of it needs. */
function unexpected(error: unknown): ConvokeError {
  const said = error instanceof Error ? (error.stack ?? error.message) : String(error)
  return new ConvokeError('UNEXPECTED', said, {
    next: 'look whether the stack names a file of yours; if not, please report it with the above',
  })
}
