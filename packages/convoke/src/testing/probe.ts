import { appendFileSync } from 'node:fs'
import type { Probe } from '../ports/probe.ts'

/**
 * A probe from the environment, for programs that are to be killed at a named point:
 *
 * - CONVOKE_CRASH_AT=`<point>#<n>`: SIGKILL this process the n-th time (from 1) that it reaches the point
 * - CONVOKE_CRASH_LOG=`<file>`: append each point reached, a line each
 *
 * Undefined when neither is set, so that production carries no probe.
 */
export function probeFromEnv(env: Readonly<Record<string, string | undefined>> = process.env): Probe | undefined {
  const at = env['CONVOKE_CRASH_AT']
  const log = env['CONVOKE_CRASH_LOG']
  if (at === undefined && log === undefined) return undefined
  const cut = at?.lastIndexOf('#') ?? -1
  const point = cut < 0 ? at : at?.slice(0, cut)
  const nth = cut < 0 ? 1 : Number(at?.slice(cut + 1))
  let seen = 0
  return (reached) => {
    if (log !== undefined) appendFileSync(log, `${reached}\n`)
    if (reached === point && ++seen === nth) process.kill(process.pid, 'SIGKILL')
  }
}
