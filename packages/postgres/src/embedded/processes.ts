import { execFileSync, spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'

interface Process {
  readonly pid: number
  readonly parent: number
}

/** Every process that runs on this machine; those that have ended and were not yet collected are left out. */
function processes(): Process[] {
  if (process.platform !== 'linux') {
    const text = execFileSync('ps', ['-axo', 'pid=,ppid=,stat='], { encoding: 'utf8' })
    return text.split('\n').flatMap((line) => {
      const [pid, parent, state = 'Z'] = line.trim().split(/\s+/)
      return state.startsWith('Z') ? [] : [{ pid: Number(pid), parent: Number(parent) }]
    })
  }
  const found: Process[] = []
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8')
      // The command's name stands in brackets and may contain anything.
      const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
      if (state !== 'Z') found.push({ pid: Number(name), parent: Number(parent) })
    } catch {
      // It ended while we looked.
    }
  }
  return found
}

export function childrenOf(pid: number): number[] {
  return processes()
    .filter(({ parent }) => parent === pid)
    .map((its) => its.pid)
}

export function areGone(pids: readonly number[]): boolean {
  const alive = new Set(processes().map(({ pid }) => pid))
  return pids.every((pid) => !alive.has(pid))
}

/** False when there is no such process any more. */
export function signal(pid: number, name: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, name)
  } catch {
    return false
  }
}

// $1 is the server's folder. The pipe on stdin ends when the process that holds its other end is gone, however it went.
// A pid file may name a process that has long been another: the command line must name the folder.
const guardian = `
while read -r word; do [ "$word" = leave ] && exit 0; done
tries=0
while [ $tries -lt 20 ]; do
  pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
  [ -n "$pid" ] && break
  sleep 0.1; tries=$((tries + 1))
done
ours() { case "$(tr '\\0' ' ' < "/proc/$pid/cmdline" 2>/dev/null || ps -o args= -p "$pid")" in *"$1"*) return 0;; esac; return 1; }
if [ -n "$pid" ] && ours "$1"; then
  kill -QUIT "$pid"
  tries=0
  while ours "$1" && [ $tries -lt 100 ]; do sleep 0.1; tries=$((tries + 1)); done
  ours "$1" && kill -KILL "$pid"
fi
rm -rf "$1"
`

export interface Guardian {
  /** Nothing is left to be guarded. */
  leave(): void
}

/** Starts a shell that ends the server in `dir` and removes the folder when this process ends, even by SIGKILL. */
export function guard(dir: string): Guardian {
  const shell = spawn('/bin/sh', ['-c', guardian, 'sh', dir], {
    stdio: ['pipe', 'ignore', 'ignore'],
    // The terminal's Ctrl-C is for the program, which may need its database to end well.
    detached: true,
  })
  shell.unref()
  const pipe = shell.stdin
  pipe.on('error', () => undefined)
  ;(pipe as unknown as { unref(): void }).unref()
  return {
    leave() {
      pipe.end('leave\n')
    },
  }
}
