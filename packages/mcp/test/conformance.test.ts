import { spawn } from 'node:child_process'
import { globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, describe, expect, test, vi } from 'vitest'

// The client scenarios of the protocol's own conformance suite, each at the wire of its revision. The suite starts a
// server of its own and our client (`conformance/client.ts`), and judges what it sees of it.

vi.setConfig({ testTimeout: 300_000, maxConcurrency: 3 })

const revisions = { '2025-11-25': 18, '2026-07-28': 32 } as const
const suite = dirname(createRequire(import.meta.url).resolve('@modelcontextprotocol/conformance/package.json'))
const client = [process.execPath, '--conditions=convoke-source', join(import.meta.dirname, 'conformance/client.ts')]
const out = mkdtempSync(join(tmpdir(), 'convoke-conformance-out-'))
afterAll(() => rmSync(out, { recursive: true, force: true }))

interface Check {
  readonly id: string
  readonly status: 'SUCCESS' | 'FAILURE' | 'WARNING' | 'SKIPPED' | 'INFO'
  readonly description: string
  readonly errorMessage?: string
}

/** What a revision demands of clients, and what is run besides: extensions, and scenarios that came later. */
function scenariosOf(revision: string): { readonly required: readonly string[]; readonly besides: readonly string[] } {
  const text = readFileSync(join(suite, 'requirements', `${revision}.yaml`), 'utf8')
  const section = (name: string): string =>
    new RegExp(`^${name}:\\n((?: .*\\n|\\n|#.*\\n)*)`, 'm').exec(text)?.[1] ?? ''
  return {
    required: [...section('client').matchAll(/^ {2}- (\S+)$/gm)].map(([, name]) => name ?? ''),
    besides: [...section('not_scored').matchAll(/^ {2}- scenario: (\S+)\n {4}leg: client$/gm)].map(
      ([, name]) => name ?? '',
    ),
  }
}

async function play(
  scenario: string,
  revision: string,
  command: readonly string[],
): Promise<{ readonly code: number | null; readonly checks: readonly Check[]; readonly said: string }> {
  const dir = mkdtempSync(join(out, 'run-'))
  const args = ['client', '--scenario', scenario, '--spec-version', revision, '--force', '--timeout', '120000']
  const child = spawn(
    process.execPath,
    [join(suite, 'dist/index.js'), ...args, '--command', command.join(' '), '--output-dir', dir],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  )
  let said = ''
  child.stdout.on('data', (piece: Buffer) => (said += piece.toString()))
  child.stderr.on('data', (piece: Buffer) => (said += piece.toString()))
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve))
  const [file] = globSync('**/checks.json', { cwd: dir })
  const checks = file === undefined ? [] : (JSON.parse(readFileSync(join(dir, file), 'utf8')) as Check[])
  return { code, checks, said: said.slice(-4000) }
}

for (const [revision, count] of Object.entries(revisions)) {
  const { required, besides } = scenariosOf(revision)

  test(`${revision} demands ${count} scenarios of clients`, () => {
    expect(new Set(required).size).toBe(count)
    expect(besides).toHaveLength(7)
  })

  describe.concurrent(`client scenarios of ${revision}`, () => {
    for (const scenario of [...required, ...besides])
      // The server of `sse-retry` measures how long we wait; a busy machine may be late, a faulty client always is.
      test(`${scenario}`, { retry: scenario === 'sse-retry' ? 2 : 0 }, async ({ expect }) => {
        const { code, checks, said } = await play(scenario, revision, client)
        const bad = checks.filter(({ status }) => status === 'FAILURE' || status === 'WARNING')
        expect(
          bad.map(({ id, description, errorMessage }) => ({ id, description, errorMessage })),
          said,
        ).toEqual([])
        expect(checks.some(({ status }) => status === 'SUCCESS')).toBe(true)
        expect(code, said).toBe(0)
      })
  })
}

test('a client that does nothing fails', async () => {
  const { code, checks } = await play('tools_call', '2026-07-28', ['true'])
  expect(code).toBe(1)
  expect(checks.filter(({ status }) => status === 'FAILURE').map(({ id }) => id)).toContain('tool-add-numbers')
})
