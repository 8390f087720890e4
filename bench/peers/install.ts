/**
 * What a peer weighs: its packages and all that they need, as they lie in this folder's `node_modules` (packages for
 * other platforms are not there; optional peer dependencies are not followed).
 */
import { existsSync, lstatSync, readFileSync, readdirSync, realpathSync } from 'node:fs'
import { dirname, join } from 'node:path'

export interface Weight {
  readonly packages: number
  readonly mb: number
}

interface Manifest {
  readonly dependencies?: Record<string, string>
  readonly optionalDependencies?: Record<string, string>
  readonly peerDependencies?: Record<string, string>
  readonly peerDependenciesMeta?: Record<string, { readonly optional?: boolean }>
}

export function weigh(roots: readonly string[]): Weight {
  const found = new Set<string>()
  for (const root of roots) visit(root, import.meta.dirname, found)
  let bytes = 0
  for (const folder of found) bytes += packageBytes(folder)
  return { packages: found.size, mb: bytes / 1e6 }
}

function visit(name: string, from: string, found: Set<string>): void {
  const folder = locate(name, from)
  if (folder === undefined || found.has(folder)) return
  found.add(folder)
  const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest
  const { dependencies = {}, optionalDependencies = {}, peerDependencies = {}, peerDependenciesMeta = {} } = manifest
  const peers = Object.keys(peerDependencies).filter((peer) => peerDependenciesMeta[peer]?.optional !== true)
  for (const next of [...Object.keys({ ...dependencies, ...optionalDependencies }), ...peers])
    visit(next, folder, found)
}

/** As Node looks a package up: in each `node_modules` on the way to this folder. */
function locate(name: string, from: string): string | undefined {
  for (let at = from; at.startsWith(import.meta.dirname); at = dirname(at)) {
    const folder = join(at, 'node_modules', name)
    if (existsSync(join(folder, 'package.json'))) return realpathSync(folder)
  }
  return undefined
}

/** Bytes of a package's own files: nested packages count for themselves, and so only if something needs them. */
function packageBytes(folder: string): number {
  return readdirSync(folder).reduce((sum, name) => sum + (name === 'node_modules' ? 0 : bytesOf(join(folder, name))), 0)
}

/** Bytes of a file, or of all files below a folder; links are not followed. */
export function bytesOf(path: string): number {
  const stat = lstatSync(path, { throwIfNoEntry: false })
  if (stat === undefined) return 0
  if (!stat.isDirectory()) return stat.size
  return readdirSync(path).reduce((sum, name) => sum + bytesOf(join(path, name)), 0)
}
