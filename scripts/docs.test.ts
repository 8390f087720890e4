/**
 * What a stranger copies from the docs must work: every `ts` block type-checks against the sources, every link leads
 * somewhere, every command and script exists.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { buildProgram } from '../packages/cli/src/program.ts'
import { root } from './pack.ts'

/** Markdown that is tracked or about to be, by path from the root. */
const pages = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '*.md'], {
  cwd: root,
  encoding: 'utf8',
})
  .split('\n')
  .filter((path) => path !== '' && !path.startsWith('.') && existsSync(join(root, path)))

const textOf = (page: string): string => readFileSync(join(root, page), 'utf8')

interface Block {
  readonly language: string
  readonly code: string
}

function blocksOf(page: string): Block[] {
  return [...textOf(page).matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].map(([, language = '', code = '']) => ({
    language,
    code,
  }))
}

let folder = ''
beforeEach(() => (folder = realpathSync(mkdtempSync(join(tmpdir(), 'convoke-docs-')))))
afterEach(() => rmSync(folder, { recursive: true, force: true }))

/** Blocks of one page stand beside each other; one that begins with `// name.ts` is that file for the others. */
function writeBlocks(page: string): number {
  const into = join(folder, page.replaceAll('/', '-'))
  mkdirSync(into)
  const blocks = blocksOf(page).filter((block) => block.language === 'ts')
  for (const [i, { code }] of blocks.entries())
    writeFileSync(join(into, /^\/\/ ([\w.-]+\.ts)\n/.exec(code)?.[1] ?? `block-${i + 1}.ts`), `${code}\nexport {}\n`)
  return blocks.length
}

test('every ts block of the docs type-checks against the sources', () => {
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ type: 'module' }))
  writeFileSync(
    join(folder, 'tsconfig.json'),
    JSON.stringify({
      extends: join(root, 'tsconfig.base.json'),
      compilerOptions: { noEmit: true, types: ['node'], typeRoots: [join(root, 'node_modules', '@types')] },
      include: ['**/*.ts'],
      exclude: ['node_modules'],
    }),
  )
  const checked = new Map(pages.map((page) => [page, writeBlocks(page)]))
  expect(checked.get('README.md')).toBeGreaterThan(0)
  expect(checked.get('docs/guide.md')).toBeGreaterThan(2)
  const done = spawnSync(join(root, 'node_modules', '.bin', 'tsc'), ['-p', folder, '--pretty', 'false'], {
    cwd: folder,
    encoding: 'utf8',
  })
  expect(done.stdout).toBe('')
  expect(done.status).toBe(0)
}, 120_000)

test('the first code of the README is short enough to be read at a glance', () => {
  const [first] = blocksOf('README.md').filter((block) => block.language === 'ts')
  const lines = (first?.code ?? '').split('\n').filter((line) => line !== '' && !/^(\/\/|import )/.test(line))
  expect(first?.code).toMatch(/role\([^]*workflow\(/)
  expect(lines.length).toBeLessThanOrEqual(20)
})

test('every link to a file leads to one', () => {
  const broken = pages.flatMap((page) =>
    [...textOf(page).matchAll(/\]\(([^)\s#]+)(?:#[^)]*)?\)/g)]
      .map(([, target = '']) => target)
      .filter((target) => !/^[a-z]+:/.test(target) && !existsSync(resolve(root, dirname(page), target)))
      .map((target) => `${page}: ${target}`),
  )
  expect(broken).toEqual([])
})

test('every npm script that the docs name exists', () => {
  const scriptsIn = (path: string): string[] =>
    Object.keys((JSON.parse(readFileSync(join(root, path), 'utf8')) as { scripts?: object }).scripts ?? {})
  const known = new Set(
    ['package.json', 'examples/hello/package.json', 'examples/invoices/package.json'].flatMap(scriptsIn),
  )
  const unknown = pages.flatMap((page) =>
    [...textOf(page).matchAll(/\bnpm run ([\w:-]+)/g)].flatMap(([, name = '']) =>
      known.has(name) ? [] : [`${page}: npm run ${name}`],
    ),
  )
  expect(unknown).toEqual([])
})

test('every convoke command and option that the docs name exists', () => {
  const program = buildProgram(
    () => {
      throw new Error('nothing is run here')
    },
    () => undefined,
  )
  const wrong: string[] = []
  let seen = 0
  for (const page of pages) {
    const code = [
      ...blocksOf(page).flatMap((block) => (block.language === 'sh' ? block.code.split('\n') : [])),
      ...[...textOf(page).matchAll(/`((?:npx )?convoke [^`]+)`/g)].map(([, inline = '']) => inline),
    ]
    for (const line of code) {
      const words = /^(?:npx )?convoke\s+(.+)$/.exec(line.replace(/\s#.*$/, ''))?.[1]?.split(/\s+/) ?? []
      if (words.length === 0) continue
      seen++
      let command = program
      for (const word of words) command = command.commands.find((one) => one.name() === word) ?? command
      if (command === program && !(words[0] ?? '').startsWith('-')) wrong.push(`${page}: ${line}`)
      const known = new Set(command.options.flatMap((option) => [option.long, option.short]))
      for (const word of words)
        if (/^--?[a-z]/.test(word) && !known.has(word.replace(/=.*$/, '')) && word !== '--help' && command !== program)
          wrong.push(`${page}: ${line} (${word})`)
    }
  }
  expect(seen).toBeGreaterThan(20)
  expect(wrong).toEqual([])
})
