/** What the core weighs: packed as it would be published, installed with npm into an empty folder. */
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { bytesOf, type Bench } from './harness.ts'

const core = resolve(import.meta.dirname, '../packages/convoke')

export async function measure(bench: Bench): Promise<void> {
  const common = { workload: 'install', system: 'convoke' } as const
  await bench.inFolder(async (dir) => {
    try {
      const npm = (args: readonly string[], cwd: string): string =>
        execFileSync('npm', args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
      npm(['pack', '--ignore-scripts', '--pack-destination', dir], core)
      const tarball = readdirSync(dir).find((name) => name.endsWith('.tgz')) ?? ''
      writeFileSync(join(dir, 'package.json'), '{"name":"a-user","private":true}')
      npm(['install', '--no-audit', '--no-fund', '--prefer-offline', join(dir, tarball)], dir)
      const modules = join(dir, 'node_modules')
      const lock = JSON.parse(readFileSync(join(modules, '.package-lock.json'), 'utf8')) as { packages: object }
      const names = Object.keys(lock.packages).map((path) => path.slice(path.lastIndexOf('node_modules/') + 13))
      const note = names.join(', ')
      bench.print({ ...common, metric: 'packages', value: names.length, unit: 'packages', note })
      bench.print({ ...common, metric: 'mb', value: bytesOf(modules) / 1e6, unit: 'MB' })
    } catch (error) {
      const note = `npm: ${(error as Error).message.split('\n')[0] ?? ''}`.slice(0, 200)
      bench.print({ ...common, metric: 'packages', value: null, unit: 'packages', note })
    }
  })
}
