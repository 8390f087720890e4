import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { ConvokeError } from '../core/errors.ts'
import { fileSecrets } from './file-secrets.ts'

let dir: string
let file: string
const canary = 'canary-0d9f'

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'convoke-secrets-'))
  file = join(dir, 'secrets.json')
})
afterEach(() => rm(dir, { recursive: true, force: true }))

async function write(text: string, mode = 0o600): Promise<void> {
  await writeFile(file, text)
  await chmod(file, mode)
}

const failure = (path = file): Promise<ConvokeError> =>
  Promise.resolve(fileSecrets(path).get('erp')).then(
    () => expect.unreachable('it should have been refused'),
    (error: unknown) => error as ConvokeError,
  )

describe('a file of secrets', () => {
  test('gives what is in it, and a new value at once', async () => {
    await write(JSON.stringify({ erp: canary, empty: '' }))
    const secrets = fileSecrets(file)
    expect(await secrets.get('erp')).toBe(canary)
    expect(await secrets.get('other')).toBeUndefined()
    expect(await secrets.get('__proto__')).toBeUndefined()
    await write(JSON.stringify({ erp: 'changed it' }))
    expect(await secrets.get('erp')).toBe('changed it')
  })

  test('that is not there has no secrets, and its hint says where to write them', async () => {
    const secrets = fileSecrets(file)
    expect(await secrets.get('erp')).toBeUndefined()
    expect(secrets.hint?.('erp')).toBe(`add "erp" to ${file}`)
  })

  test.each([0o644, 0o640, 0o604, 0o620, 0o602, 0o660, 0o666, 0o777])(
    'with mode %i is refused (SECRET_STORE_UNSAFE)',
    async (mode) => {
      await write(JSON.stringify({ erp: canary }), mode)
      const error = await failure()
      expect(error.code).toBe('SECRET_STORE_UNSAFE')
      expect(JSON.stringify(error)).not.toContain(canary)
    },
  )

  test('with mode 0400 is fine', async () => {
    await write(JSON.stringify({ erp: canary }), 0o400)
    expect(await fileSecrets(file).get('erp')).toBe(canary)
  })

  test('is looked at again: what became readable for others is refused then', async () => {
    await write(JSON.stringify({ erp: canary }))
    const secrets = fileSecrets(file)
    await secrets.get('erp')
    await chmod(file, 0o644)
    await expect(secrets.get('erp')).rejects.toMatchObject({ code: 'SECRET_STORE_UNSAFE' })
  })

  test('in a folder that others can write, as a link or as a folder is refused', async () => {
    await write(JSON.stringify({ erp: canary }))
    const link = join(dir, 'link.json')
    await symlink(file, link)
    expect((await failure(link)).code).toBe('SECRET_STORE_UNSAFE')
    const folder = join(dir, 'folder')
    await mkdir(folder)
    expect((await failure(folder)).code).toBe('SECRET_STORE_UNSAFE')
    await chmod(dir, 0o777)
    expect((await failure()).code).toBe('SECRET_STORE_UNSAFE')
    await chmod(dir, 0o700)
  })

  test('that cannot be read says so without quoting it (SECRET_MISSING)', async () => {
    for (const text of [`{"erp": ${canary}`, `"${canary}"`, `["${canary}"]`, `{"erp": {"${canary}": 1}}`, '']) {
      await write(text)
      const error = await failure()
      expect(error.code).toBe('SECRET_MISSING')
      expect(`${error.stack ?? ''} ${JSON.stringify(error)}`).not.toContain(canary)
    }
  })
})
