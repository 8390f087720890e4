import { spawn, type ChildProcess } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Json } from 'convoke'

const entry = join(import.meta.dirname, 'entry.ts')
export const appFile: string = join(import.meta.dirname, 'app.config.ts')

export interface Done {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

/** The command as a process of its own, in a folder of its own. */
export interface Running {
  readonly child: ChildProcess
  readonly done: Promise<Done>
  /** Resolves once what it has printed to stderr fits. */
  printed(pattern: RegExp): Promise<void>
}

export interface Place {
  readonly dir: string
  /** Runs the command with the tests' app until it ends. */
  cli(args: readonly string[], more?: Options): Promise<Done>
  start(args: readonly string[], more?: Options): Running
  /** What the app's effects have left at their counterpart. */
  counted(): readonly string[]
  remove(): void
}

export interface Options {
  readonly env?: Readonly<Record<string, string>>
  readonly input?: string
  readonly cwd?: string
  /** Without the tests' app. */
  readonly bare?: boolean
}

const needsApp = new Set(['run', 'resume', 'worker'])

export function place(): Place {
  const dir = mkdtempSync(join(tmpdir(), 'convoke-cli-'))
  const counter = join(dir, 'counter')
  const children = new Set<ChildProcess>()

  function start(args: readonly string[], more: Options = {}): Running {
    const app = more.bare !== true && needsApp.has(args[0] ?? '') ? ['--app', appFile] : []
    const { CONVOKE_STORE: _, CONVOKE_TENANT: __, FORCE_COLOR: ___, npm_command: ____, ...env } = process.env
    const child = spawn(process.execPath, ['--conditions=convoke-source', entry, ...args, ...app], {
      cwd: more.cwd ?? dir,
      env: { ...env, COUNTER: counter, ...more.env },
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    children.add(child)
    child.stdin.end(more.input ?? '')
    let out = ''
    let err = ''
    const listeners = new Set<() => void>()
    child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      err += text
      for (const listener of listeners) listener()
    })
    const done = new Promise<Done>((resolve) => {
      child.on('close', (code) => {
        children.delete(child)
        resolve({ code, out, err })
        for (const listener of listeners) listener()
      })
    })
    return {
      child,
      done,
      printed: (pattern) =>
        new Promise((resolve, reject) => {
          const look = (): void => {
            const found = pattern.test(err)
            if (!found && children.has(child)) return
            listeners.delete(look)
            if (found) resolve()
            else reject(new Error(`it ended without printing ${String(pattern)}: ${err}`))
          }
          listeners.add(look)
          look()
        }),
    }
  }

  return {
    dir,
    start,
    cli: (args, more) => start(args, more).done,
    counted: () => (existsSync(counter) ? readFileSync(counter, 'utf8').trim().split('\n') : []),
    remove() {
      for (const child of children) child.kill('SIGKILL')
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

export function json(text: string): Json {
  return JSON.parse(text) as Json
}
