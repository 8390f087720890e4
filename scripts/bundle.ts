/**
 * Writes a package's JavaScript as a few files: Node spends more on finding and reading a hundred small modules than on
 * what is in them (a cold start took 250 ms, and took 175 with one file for all that entries share). Types come from tsc,
 * one file a module, as ever.
 *
 * Entries are the package's subpaths, by its `exports`, and files that are started by their own address (threads). All
 * lie in `dist` itself, so that such an address, relative to whoever asks, is the same in sources and chunks. Whatever
 * two entries have in common is one instance for both.
 *
 * Chunks follow from what the main entry reaches. What it imports is one file; what it loads later is not to come with it
 * and is few files as well: what every run needs, and the rest.
 */
import { globSync, readFileSync, rmSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { rolldown, type Plugin } from 'rolldown'

interface Manifest {
  readonly exports: Readonly<Record<string, string | { readonly 'convoke-source'?: string }>>
}

type File = 'core' | 'run' | 'ledger' | 'more'

interface Module {
  readonly imports: readonly string[]
  readonly loads: readonly string[]
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

const main = join(folder, 'src/index.ts')
/** What `convoke()` loads while it opens its ledger. */
const opening = ['src/app/opened.ts', 'src/app/extensions.ts', 'src/dispatch-local/dispatcher.ts']
/** What the embedded ledger loads when it opens; a ledger of another kind has no need of it. */
const ledger = ['src/ledger-sqlite/here.ts']

/** Remembers who imports whom. */
function watcher(modules: Map<string, Module>): Plugin {
  return {
    name: 'who-imports-whom',
    moduleParsed: ({ id, importedIds, dynamicallyImportedIds }) =>
      void modules.set(id, { imports: importedIds, loads: dynamicallyImportedIds }),
  }
}

/**
 * Takes Node's own modules without an import statement, for which Node evaluates all that they export: of `fs` that is
 * streams, promises and a line reader (4 ms). Functions are taken when they are first called, since `crypto` alone takes
 * 6 ms to load, which a ledger's thread can start in.
 */
function builtins(): Plugin {
  // One that carries more than it does, such as how it is promisified, is taken as it is.
  const isUsual = (key: string | symbol): boolean => ['length', 'name', 'prototype'].includes(String(key))
  const statement = /^import (?:\{ ([^}]+) \} from )?"(node:[^"]+)";\n/gm
  const taken = (id: string, name: string, as: string): string => {
    const it = `getBuiltin("${id}").${name}`
    const there = (process.getBuiltinModule(id) as Readonly<Record<string, unknown>>)[name]
    const isLate = typeof there === 'function' && /^[a-z]/.test(name) && Reflect.ownKeys(there).every(isUsual)
    return isLate ? `let ${as} = (...args) => (${as} = ${it})(...args);\n` : `const ${as} = ${it};\n`
  }
  return {
    name: 'builtins',
    renderChunk(code) {
      const rest = code.replace(statement, (_, names: string | undefined, id: string) =>
        (names?.split(', ') ?? [])
          .map((text) => text.split(' as '))
          .map(([name = '', as = name]) => taken(id, name, as))
          .join(''),
      )
      // Kept here, since a program may take it away from others later.
      const kept = rest.includes('getBuiltin(') ? 'const getBuiltin = process.getBuiltinModule;\n' : ''
      return { code: kept + rest }
    },
  }
}

/** What a module brings with it at once. */
function closure(modules: ReadonlyMap<string, Module>, roots: readonly string[]): Set<string> {
  const found = new Set<string>()
  for (const left = [...roots]; left.length > 0;) {
    const id = left.pop() as string
    if (found.has(id) || !modules.has(id)) continue
    found.add(id)
    left.push(...(modules.get(id)?.imports ?? []))
  }
  return found
}

/** Which modules of the subpaths share a file. What is in none of these has one user, or is loaded by itself. */
function filesOf(modules: ReadonlyMap<string, Module>): Readonly<Record<File, ReadonlySet<string>>> {
  const at = (path: string): string => join(folder, path)
  const core = closure(modules, [main])
  const run = closure(modules, opening.map(at))
  const embedded = closure(modules, ledger.map(at))
  const loads = [...core, ...run].flatMap((id) => modules.get(id)?.loads ?? [])
  // A network is loaded with the first request, and by nothing else.
  const more = closure(
    modules,
    loads.filter((id) => id !== at('src/net/network.ts')),
  )
  return { core, run, ledger: embedded, more }
}

for (const old of globSync('**/*.js', { cwd: dist })) rmSync(join(dist, old))
// A thread is a program of its own and shares no instance with its starter: one file each, so that it starts sooner.
for (const paths of [subpaths, ...threads.map((path) => [path])]) {
  const modules = new Map<string, Module>()
  let files: ReturnType<typeof filesOf> | undefined
  const isIn = (file: File) => (id: string) => (files ??= filesOf(modules))[file].has(id)
  const bundle = await rolldown({
    input: Object.fromEntries(paths.map((path) => [basename(path, '.ts'), join(folder, path)])),
    platform: 'node',
    external: (id) => !id.startsWith('.') && !id.startsWith('/') && !/^[A-Za-z]:/.test(id),
    plugins: [watcher(modules), builtins()],
  })
  await bundle.write({
    dir: dist,
    format: 'esm',
    entryFileNames: '[name].js',
    chunkFileNames: '[name]-[hash].js',
    codeSplitting: {
      groups: [
        { name: 'core', priority: 4, test: isIn('core') },
        { name: 'run', priority: 3, test: isIn('run') },
        { name: 'ledger', priority: 2, test: isIn('ledger') },
        { name: 'more', priority: 1, test: isIn('more') },
      ],
    },
  })
  await bundle.close()
}
