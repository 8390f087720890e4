import { readFileSync } from 'node:fs'

/** The package's own version; sources and dist stand equally deep in it. */
export const version: string = (
  JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { readonly version: string }
).version
