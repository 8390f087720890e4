import { execFileSync } from 'node:child_process'
import { join } from 'node:path'

/** Before any test: what is built is what the sources say. */
export function setup(): void {
  execFileSync(process.execPath, [join(import.meta.dirname, 'build.ts'), '--if-stale'], { stdio: 'inherit' })
}
