/**
 * A program for Python, whose standard library has terminals where Node's has none: runs the command of its arguments in a
 * pseudo-terminal, types answers when their text has appeared, and ends as the command does.
 */
export const asks: string = `
import json, os, pty, select, signal, sys, time
answers = json.loads(sys.argv[1])
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[2], sys.argv[2:])
seen = b''
end = time.monotonic() + 120
while True:
    left = end - time.monotonic()
    ready = select.select([terminal], [], [], max(0, left))[0]
    if not ready:
        os.kill(pid, signal.SIGKILL)
        break
    try:
        piece = os.read(terminal, 65536)
    except OSError:
        break
    if not piece:
        break
    sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()
    seen += piece
    while answers and answers[0]['after'].encode() in seen:
        answer = answers.pop(0)
        seen = seen.split(answer['after'].encode(), 1)[1]
        os.write(terminal, answer['type'].encode())
status = os.waitpid(pid, 0)[1]
sys.exit(os.waitstatus_to_exitcode(status) % 256)
`
