/** Writes the example's invoices to inbox/. Run it after a change to the catalog and commit what it wrote. */
import { mkdir, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { join } from 'node:path'
import { renderInbox } from './render.ts'

const folder = fileURLToPath(new URL('../inbox/', import.meta.url))
await mkdir(folder, { recursive: true })
for (const [name, bytes] of await renderInbox()) {
  await writeFile(join(folder, name), bytes)
  console.log(`${name.padEnd(14)} ${String(bytes.byteLength).padStart(6)} bytes`)
}
