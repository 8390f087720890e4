import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { ConvokeError } from 'convoke/adapter'

/**
 * The server's own program. Its npm package starts it through a wrapper, and a wrapper that is killed leaves the server
 * behind, so the wrapper is passed by.
 * @throws ENGINE_UNREACHABLE when `@restatedev/restate-server` is not installed, or not for this platform
 */
export function serverBinary(): string {
  const require = createRequire(import.meta.url)
  const platform = `@restatedev/restate-server-${process.platform}-${process.arch}`
  try {
    // The program's package is a dependency of the wrapper's: asked for from there, so that any layout of folders works.
    const wrapper = require.resolve('@restatedev/restate-server/package.json')
    const found = createRequire(wrapper).resolve(`${platform}/package.json`)
    return join(dirname(found), 'bin', 'restate-server')
  } catch (cause) {
    throw new ConvokeError('ENGINE_UNREACHABLE', `the embedded Restate needs ${platform}, which is not installed`, {
      details: { package: '@restatedev/restate-server' },
      next: 'npm install --save-dev @restatedev/restate-server, or use a server of your own: restate://host:8080',
      cause,
    })
  }
}
