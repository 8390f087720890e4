/**
 * Ids are promises: every error code has a page and a test, every rule of the run (R1 to R11) has a test. This check
 * fails for an id that nobody cites. Run by `npm run check`; `node scripts/ids.ts` prints what is missing.
 */
import { existsSync, globSync, readFileSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'

const RULES: readonly string[] = Array.from({ length: 11 }, (_, i) => `R${i + 1}`)

/** A test that lists all codes at once (a pin of the public surface, or the check's own test) shows none of them. */
const LISTS_ONLY = /(?:^|[\\/])(?:test[\\/]pins[\\/]|codes\.test\.ts$|ids\.test\.ts$)/

const TITLE =
  /\b(?:test|it|describe|suite)(?:\.\w+(?:\((?:[^()]|\([^()]*\))*\))?)*\s*\(\s*(?:'((?:\\.|[^'\\])*)'|"((?:\\.|[^"\\])*)"|`((?:\\.|[^`\\])*)`)/g

/** What a check of ids looks at: codes, the names of their pages, and the tests' paths with their texts. */
export interface Cited {
  codes: readonly string[]
  pages: ReadonlyMap<string, string>
  tests: ReadonlyMap<string, string>
}

/** The titles of a test file, `describe` included; titles made at run time are not seen. */
export function titles(source: string): string[] {
  return Array.from(source.matchAll(TITLE), (m) => m[1] ?? m[2] ?? m[3] ?? '')
}

/** One line for each id that is not cited, each page of no code, and each page that does not name its code. */
export function complaints({ codes, pages, tests }: Cited): string[] {
  const found: string[] = []
  const sources = [...tests].filter(([path]) => !LISTS_ONLY.test(path)).map(([, text]) => text)
  const words = new Set(sources.flatMap((text) => text.match(/\b[A-Z][A-Z0-9_]+\b/g) ?? []))
  for (const code of codes) {
    const page = pages.get(code)
    if (page === undefined) found.push(`${code}: no page docs/errors/${code}.md`)
    else if (!page.startsWith(`# ${code}\n`))
      found.push(`${code}: docs/errors/${code}.md does not begin with "# ${code}"`)
    if (!words.has(code)) found.push(`${code}: no test cites it`)
  }
  for (const page of pages.keys()) {
    if (!codes.includes(page)) found.push(`${page}: docs/errors/${page}.md is a page of no code`)
  }
  const allTitles = sources.flatMap(titles)
  for (const rule of RULES) {
    if (!allTitles.some((title) => new RegExp(`\\b${rule}\\b`).test(title)))
      found.push(`${rule}: no test title cites it`)
  }
  return found
}

async function main(root: string): Promise<number> {
  const codesFile = join(root, 'packages/convoke/src/core/codes.ts')
  if (!existsSync(codesFile)) {
    process.stdout.write('ids: skipped, there are no error codes yet (packages/convoke/src/core/codes.ts)\n')
    return 0
  }
  const { codes } = (await import(codesFile)) as { codes: Record<string, unknown> }
  const read = (path: string): string => readFileSync(join(root, path), 'utf8')
  const tests = globSync(
    [
      'packages/*/{src,test}/**/*.test.ts',
      'packages/convoke/src/testing/*-suite/*.ts',
      'examples/**/*.test.ts',
      'bench/**/*.test.ts',
      'scripts/package.test.ts',
    ],
    {
      cwd: root,
      exclude: ['**/node_modules/**', '**/canaries/**', 'bench/peers/**'],
    },
  )
  const pages = globSync('docs/errors/*.md', { cwd: root }).filter((path) => basename(path) !== 'README.md')
  const found = complaints({
    codes: Object.keys(codes),
    pages: new Map(pages.map((path) => [basename(path, '.md'), read(path)])),
    tests: new Map(tests.map((path) => [path, read(path)])),
  })
  for (const line of found) process.stderr.write(`${line}\n`)
  process.stdout.write(
    found.length === 0
      ? `ids: ${Object.keys(codes).length} codes with page and test, ${RULES.length} rules with tests\n`
      : `ids: ${found.length} complaints\n`,
  )
  return found.length === 0 ? 0 : 1
}

if (import.meta.main) process.exitCode = await main(resolve(import.meta.dirname, '..'))
