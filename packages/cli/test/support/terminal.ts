import { spawn, spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { asks } from './terminal-script.ts'

const entry = join(import.meta.dirname, 'entry.ts')

/** Whether this machine can make a terminal for tests: with Python's `pty`, which there is on Linux and macOS. */
export const canTerminal: boolean = spawnSync('python3', ['-c', 'import pty, select']).status === 0

export interface Seen {
  readonly code: number | null
  /** What stood on the screen, stdout and stderr as they came, without colours; line ends are plain. */
  readonly screen: string
}

/**
 * Runs the command in a terminal of its own, types each answer once the text before it has appeared, and returns what was
 * on the screen. `\x03` is Ctrl-C. It is ended after two minutes.
 */
export function inTerminal(
  args: readonly string[],
  answers: readonly { readonly after: string; readonly type: string }[],
  o: { readonly cwd: string; readonly env: Readonly<Record<string, string>> },
): Promise<Seen> {
  const { CONVOKE_STORE: _, CONVOKE_TENANT: __, CI: ___, NO_COLOR: ____, npm_command: _____, ...env } = process.env
  const command = [process.execPath, '--conditions=convoke-source', entry, ...args]
  const child = spawn('python3', ['-c', asks, JSON.stringify(answers), ...command], {
    cwd: o.cwd,
    env: { ...env, TERM: 'xterm', ...o.env },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let screen = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (screen += text))
  return new Promise((resolve) => {
    child.on('close', (code) =>
      resolve({ code, screen: screen.replace(/\x1b\[[0-9;?]*[A-Za-z]/g, '').replaceAll('\r\n', '\n') }),
    )
  })
}
