import type { Point, WorkerOptions } from './protocol.ts'

/**
 * Kills this process at the point that the options name. The count is in shared memory, since a ledger may move to its
 * thread in between.
 */
export function crashPoints({ crashAt, reached }: WorkerOptions): (point: Point) => void {
  return (point) => {
    if (crashAt?.point !== point || reached === undefined) return
    if (Atomics.add(reached, 0, 1) + 1 === crashAt.occurrence) process.kill(process.pid, 'SIGKILL')
  }
}
