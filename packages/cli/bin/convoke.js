#!/usr/bin/env node
/*
 * Starts the command line. Old syntax on purpose (and CommonJS, see package.json beside this file): a Node that is too
 * old must get as far as saying so. The command itself is dist/index.js: main(argv) resolves to the exit code.
 *
 * A Node that is too old exits with 2, usage: convoke was started wrongly, nothing was done, and starting it again the
 * same way cannot help. (5, unreachable, would tell a script to try again.)
 */
'use strict'

var NEEDED = [24, 15]
var found = process.version.replace(/^v/, '').split('.').map(Number)

if (found[0] > NEEDED[0] || (found[0] === NEEDED[0] && found[1] >= NEEDED[1])) {
  // A second start takes half as long.
  require('module').enableCompileCache()
  import('../dist/index.js')
    .then(function (cli) {
      return cli.main(process.argv.slice(2))
    })
    .then(
      function (code) {
        process.exitCode = code
      },
      function (error) {
        var missing = error && error.code === 'ERR_MODULE_NOT_FOUND' && /dist.index\.js/.test(String(error.message))
        process.stderr.write(
          missing
            ? 'convoke: dist/index.js is missing. Next: npm run build\n'
            : 'convoke: ' + ((error && error.stack) || error) + '\n',
        )
        process.exitCode = 1
      },
    )
} else {
  process.stderr.write(
    'NODE_TOO_OLD: convoke needs Node.js ' +
      NEEDED.join('.') +
      ' or later, and this is ' +
      process.version +
      ' (' +
      process.execPath +
      ').\nNext: npm install node@24 (into this project; npx and npm scripts then use it),\n' +
      '      or once: npx -p node@24 convoke' +
      '\n',
  )
  process.exitCode = 2
}
