import { execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { expect, test } from 'vitest'
import { keyHint } from './keys.ts'
import { resolveModel } from './resolve.ts'

test.each([
  ['auto', { ANTHROPIC_API_KEY: 'k' }, 'anthropic/claude-sonnet-5'],
  ['auto', { OPENAI_API_KEY: 'k', ANTHROPIC_API_KEY: ' ' }, 'openai/gpt-5.4-mini'],
  ['openai/gpt-5.5', { OPENAI_API_KEY: 'k' }, 'openai/gpt-5.5'],
  ['openai-compatible/org/model@http://127.0.0.1:1/v1', {}, 'openai-compatible/org/model'],
])('%s with %j is %s', async (spec, env, id) => {
  const model = await resolveModel(spec, env)
  expect(model).toMatchObject({ id, provider: id.split('/')[0], kind: 'provider' })
})

test.each([
  ['auto', /ANTHROPIC_API_KEY or OPENAI_API_KEY/],
  ['openai/gpt-5.5', /set OPENAI_API_KEY/],
  ['gpt-5.5', /openai-compatible/],
  ['openai/', /'auto'/],
  ['toString/x', /'auto'/],
  ['openai-compatible/x', /@http:/],
  ['openai-compatible/x@http://', /@http:/],
])('%s without a key says what to do', async (spec, next) => {
  await expect(resolveModel(spec, {})).rejects.toMatchObject({
    code: 'MODEL_UNKNOWN',
    next: expect.stringMatching(next),
  })
})

test('a provider package that is not installed is named with the command that installs it', () => {
  // The sources in a folder without node_modules: nothing can be imported there but Node's own.
  const folder = mkdtempSync(join(tmpdir(), 'convoke-no-packages-'))
  try {
    for (const room of ['core', 'ports', 'models'])
      cpSync(resolve(import.meta.dirname, '..', room), join(folder, room), { recursive: true })
    writeFileSync(
      join(folder, 'main.ts'),
      `import { resolveModel } from './models/resolve.ts'
       for (const spec of ['anthropic/m', 'openai/m', 'openai-compatible/m@http://127.0.0.1:1'])
         await resolveModel(spec, { ANTHROPIC_API_KEY: 'k', OPENAI_API_KEY: 'k' }).catch((e) => console.log(e.code, e.next))`,
    )
    const out = execFileSync(process.execPath, [join(folder, 'main.ts')], { encoding: 'utf8' })
    expect(out.trim().split('\n')).toEqual([
      'MODEL_UNKNOWN npm install @ai-sdk/anthropic@4.0.105',
      'MODEL_UNKNOWN npm install @ai-sdk/openai@4.0.118',
      'MODEL_UNKNOWN npm install @ai-sdk/openai-compatible@3.0.92',
    ])
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

test('a key in the environment earns one hint, without the key', () => {
  expect(keyHint({ OPENAI_API_KEY: 'sk-1' })).toMatch(
    /^OPENAI_API_KEY is set but not used; --model auto would use [^\n]*$/,
  )
  expect(keyHint({ OPENAI_API_KEY: 'sk-1' })).not.toContain('sk-1')
  expect(keyHint({})).toBeUndefined()
  expect(keyHint({ OPENAI_API_KEY: 'sk-1', CONVOKE_MODEL: 'auto' })).toBeUndefined()
})
