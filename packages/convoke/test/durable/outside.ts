import { spawn, type ChildProcess } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export const sources: readonly string[] = ['--conditions=convoke-source']

export interface Audit {
  /** How often each effect took place. */
  readonly effects: Readonly<Record<string, number>>
  /** How often each step's body ran. */
  readonly ran: Readonly<Record<string, number>>
}

export interface Outside {
  url(name: string): string
  audit(name: string): Promise<Audit>
  close(): Promise<void>
}

/** Starts the counterpart (counterpart.ts) in a process of its own. */
export async function startOutside(): Promise<Outside> {
  const dir = mkdtempSync(join(tmpdir(), 'convoke-outside-'))
  const portFile = join(dir, 'port')
  const child = spawn(process.execPath, [join(import.meta.dirname, 'counterpart.ts'), portFile], {
    stdio: ['pipe', 'ignore', 'inherit'],
  })
  for (let tries = 0; !existsSync(portFile) || readFileSync(portFile, 'utf8') === ''; tries++) {
    if (tries > 500) throw new Error('the counterpart did not start')
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  const base = `http://127.0.0.1:${readFileSync(portFile, 'utf8')}`
  return {
    url: (name) => `${base}/${name}`,
    audit: async (name) => (await (await fetch(`${base}/${name}/audit`)).json()) as Audit,
    async close() {
      child.stdin.end()
      await ended(child)
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

export function ended(child: ChildProcess): Promise<{ readonly code: number | null; readonly signal: string | null }> {
  if (child.exitCode !== null || child.signalCode !== null)
    return Promise.resolve({ code: child.exitCode, signal: child.signalCode })
  return new Promise((resolve) => child.once('exit', (code, signal) => resolve({ code, signal })))
}
