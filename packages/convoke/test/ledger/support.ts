import { spawn, type ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { isConvokeError, type ConvokeError } from '../../src/core/errors.ts'
import type { Where } from '../../src/ledger-sqlite/client.ts'
import { openLedger, type SqliteLedgerOptions } from '../../src/ledger-sqlite/index.ts'
import type { Ledger } from '../../src/ports/ledger.ts'
import type { Task } from './child.ts'

export interface Child {
  readonly process: ChildProcess
  /** All it said so far. */
  readonly lines: Record<string, unknown>[]
  /** The next line that has the member. */
  next(member: string): Promise<Record<string, unknown>>
  tell(line: string): void
  /** Resolves with the signal or the exit code it ended with. */
  readonly ended: Promise<string | number>
}

export function spawnChild(task: Task): Child {
  const file = fileURLToPath(new URL('./child.ts', import.meta.url))
  const child = spawn(process.execPath, ['--conditions=convoke-source', file, JSON.stringify(task)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const lines: Record<string, unknown>[] = []
  let taken = 0
  let arrived = (): void => {}
  createInterface({ input: child.stdout }).on('line', (line) => {
    lines.push(JSON.parse(line) as Record<string, unknown>)
    arrived()
  })
  const ended = new Promise<string | number>((resolve) => {
    child.on('close', (code, signal) => {
      resolve(signal ?? code ?? -1)
      arrived()
    })
  })
  return {
    process: child,
    lines,
    ended,
    tell: (line) => child.stdin.write(line + '\n'),
    async next(member) {
      for (;;) {
        const at = lines.findIndex((line, i) => i >= taken && member in line)
        if (at >= 0) {
          taken = at + 1
          return lines[at]!
        }
        if (child.exitCode !== null || child.signalCode !== null) throw new Error(`the child ended without ${member}`)
        await new Promise<void>((resolve) => (arrived = resolve))
      }
    },
  }
}

/** A folder that is removed and children that are ended, whatever happens. */
export async function withStore(
  body: (store: {
    readonly dir: string
    open(options?: Partial<SqliteLedgerOptions>, where?: Where): Promise<Ledger>
    child(task: Omit<Task, 'dir'>): Child
  }) => Promise<void>,
): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'convoke-ledger-'))
  const ledgers: Ledger[] = []
  const children: Child[] = []
  try {
    await body({
      dir,
      async open(options = {}, where) {
        const ledger = await openLedger({ dir, ...options }, where)
        ledgers.push(ledger)
        return ledger
      },
      child(task) {
        const child = spawnChild({ dir, ...task })
        children.push(child)
        return child
      },
    })
  } finally {
    for (const child of children) {
      child.process.kill('SIGKILL')
      await child.ended
    }
    await Promise.all(ledgers.map((ledger) => ledger.close()))
    rmSync(dir, { recursive: true, force: true })
  }
}

export async function errorOf(act: Promise<unknown>): Promise<ConvokeError> {
  try {
    await act
  } catch (error) {
    if (isConvokeError(error)) return error
    throw error
  }
  throw new Error('nothing was refused')
}

export async function codeOf(act: Promise<unknown>): Promise<string> {
  return (await errorOf(act)).code
}

export const run = (id: string): { tenant: string; stream: string } => ({ tenant: 'acme', stream: `run/${id}` })
