/** That inference.ts is checked, that the check finds what is wrong, and that what users write stays cheap to check. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'

const root = resolve(import.meta.dirname, '../../../..')
const source = readFileSync(join(import.meta.dirname, 'inference.ts'), 'utf8')
let folder = ''
beforeAll(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'convoke-types-')))
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ type: 'module' }))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** What tsc says of the text in place of inference.ts. */
function checked(text: string): { readonly errors: readonly string[]; readonly instantiations: number } {
  writeFileSync(join(folder, 'inference.ts'), text.replace("'../../src/index.ts'", "'convoke'"))
  const config = {
    extends: join(root, 'tsconfig.base.json'),
    compilerOptions: { noEmit: true, types: ['node'], typeRoots: [join(root, 'node_modules', '@types')] },
    files: ['inference.ts'],
  }
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(config))
  const tsc = join(root, 'node_modules', '.bin', 'tsc')
  const { stdout } = spawnSync(tsc, ['-p', folder, '--pretty', 'false', '--extendedDiagnostics'], { encoding: 'utf8' })
  return {
    errors: stdout.split('\n').filter((line) => /error TS\d+/.test(line)),
    instantiations: Number(/^Instantiations:\s+(\d+)/m.exec(stdout)?.[1]),
  }
}

test('roles, tools, workflows, signals, boards and handles infer what they should, and cheaply', () => {
  const { errors, instantiations } = checked(source)
  expect(errors).toEqual([])
  // 65,000 when this was written, most of it Zod's. Types that climb show in this number before they show in seconds.
  expect(instantiations).toBeGreaterThan(1_000)
  expect(instantiations).toBeLessThan(130_000)
}, 120_000)

test('a wrong type is found, and so is a mistake that is none any more', () => {
  const wrong = source
    .replace(
      "expectTypeOf(await r.step('s', () => 1)).toEqualTypeOf<number>()",
      "expectTypeOf(await r.step('s', () => 1)).toEqualTypeOf<string>()",
    )
    .replace('void r.call(pay, { amount: 1 })', "void r.call(pay, { amount: '1' })")
  const { errors } = checked(wrong)
  expect(errors).toHaveLength(2)
  expect(errors.join()).toMatch(/TS2578/)
}, 120_000)
