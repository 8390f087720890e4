/**
 * Writes a package's JavaScript as a few files: Node spends more on finding and reading a hundred small modules than on
 * what is in them (a cold start took 250 ms, and takes 175). Types come from tsc, one file a module, as ever.
 *
 * Entries are the package's subpaths, by its `exports`, and files that are started by their own address (threads). All
 * lie in `dist` itself, so that such an address, relative to whoever asks, is the same in sources and chunks.
 */
import { globSync, readFileSync, rmSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { rolldown } from 'rolldown'

interface Manifest {
  readonly exports: Readonly<Record<string, string | { readonly 'convoke-source'?: string }>>
}

const folder = resolve(process.argv[2] ?? 'packages/convoke')
const dist = join(folder, 'dist')
const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest
const subpaths = Object.values(manifest.exports).flatMap((target) =>
  typeof target === 'string' || target['convoke-source'] === undefined ? [] : [target['convoke-source']],
)
const threads = globSync('src/**/{worker,*-worker}.ts', { cwd: folder }).filter((path) => !path.includes('/testing/'))
const names = [...subpaths, ...threads].map((path) => basename(path, '.ts'))
if (new Set(names).size !== names.length) throw new Error(`two entries have one name: ${names.join(', ')}`)

for (const old of globSync('**/*.js', { cwd: dist })) rmSync(join(dist, old))
// A thread is a program of its own and shares no instance with its starter: one file each, so that it starts sooner.
for (const paths of [subpaths, ...threads.map((path) => [path])]) {
  const bundle = await rolldown({
    input: Object.fromEntries(paths.map((path) => [basename(path, '.ts'), join(folder, path)])),
    platform: 'node',
    external: (id) => !id.startsWith('.') && !id.startsWith('/') && !/^[A-Za-z]:/.test(id),
  })
  await bundle.write({
    dir: dist,
    format: 'esm',
    entryFileNames: '[name].js',
    chunkFileNames: '[name]-[hash].js',
    // What several subpaths share is one file as well; only the network is loaded when it is needed.
    codeSplitting: { groups: [{ name: 'shared', minShareCount: 2, test: /[\\/]src[\\/](?!net[\\/])/ }] },
  })
  await bundle.close()
}
