import { spawn } from 'node:child_process'

// $1 is the folder of the servers; a line is the id of a process to end, or `leave`. The pipe on stdin ends when the
// process that holds its other end is gone, however it went. An id may name another process by then: the command line
// must name the folder.
const guardian = `
pids=""
while read -r word; do [ "$word" = leave ] && exit 0; pids="$pids $word"; done
for pid in $pids; do
  case "$(tr '\\0' ' ' < "/proc/$pid/cmdline" 2>/dev/null || ps -o args= -p "$pid")" in *"$1"*) kill -KILL "$pid";; esac
done
sleep 0.2
rm -rf "$1"
`

export interface Guardian {
  /** One more process to end with ours. */
  watch(pid: number): void
  /** Nothing is left to be guarded. */
  leave(): void
}

/** Starts a shell that ends the servers in `dir` and removes the folder when this process ends, even by SIGKILL. */
export function guard(dir: string): Guardian {
  const shell = spawn('/bin/sh', ['-c', guardian, 'sh', dir], { stdio: ['pipe', 'ignore', 'ignore'], detached: true })
  shell.unref()
  const pipe = shell.stdin
  pipe.on('error', () => undefined)
  ;(pipe as unknown as { unref(): void }).unref()
  return {
    watch: (pid) => void pipe.write(`${pid}\n`),
    leave: () => void pipe.end('leave\n'),
  }
}
