// What bin/convoke.js does, from the sources.
import { main } from '../../src/index.ts'

process.exitCode = await main(process.argv.slice(2))
