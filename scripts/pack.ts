/** Packs the packages as `npm publish` would, for the checks that look at what users get. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

export const root: string = resolve(import.meta.dirname, '..')

/** Folders of the packages that are published. */
export const published: readonly string[] = [
  'packages/convoke',
  'packages/cli',
  'packages/postgres',
  'packages/restate',
  'packages/openapi',
  'packages/mcp',
  'packages/guardrails',
]

/** What somebody installs who works on one machine. */
export const onOneMachine: readonly string[] = published.slice(0, 2)

export interface Packed {
  /** Absolute path of the tarball. */
  tarball: string
  name: string
  /** Paths inside the package. */
  files: string[]
  /** Bytes once unpacked. */
  unpackedSize: number
}

interface NpmPack {
  name: string
  filename: string
  unpackedSize: number
  files: { path: string }[]
}

/**
 * Packs one package into a folder. `dist` is taken as it stands: build first.
 *
 * @throws when npm fails, with npm's own words
 */
export function pack(folder: string, into: string): Packed {
  const args = ['pack', '--json', '--ignore-scripts', '--pack-destination', into]
  const out = execFileSync('npm', args, {
    cwd: join(root, folder),
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  // npm 11 answers with a list, later ones with an object by name.
  const answer = JSON.parse(out) as NpmPack[] | Record<string, NpmPack>
  const [one] = Object.values(answer)
  if (one === undefined) throw new Error(`npm pack answered nothing for ${folder}`)
  const { name, filename, unpackedSize, files } = one
  return { tarball: join(into, filename), name, files: files.map((f) => f.path), unpackedSize }
}

/** The version of a root dev dependency, as package.json has it. */
export function devDependency(name: string): string {
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    devDependencies: Record<string, string>
  }
  const version = manifest.devDependencies[name]
  if (version === undefined) throw new Error(`${name} is not a dev dependency of the root`)
  return version
}
