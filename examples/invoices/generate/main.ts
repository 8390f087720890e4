/**
 * Writes the example's invoices to inbox/, and the ERP's OpenAPI document to erp.openapi.json, as the ERP serves it. Run it
 * after a change to the catalog or the ERP, then `npm run format`, and commit what they wrote.
 */
import { mkdir, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { join } from 'node:path'
import { openApi } from '../src/erp/openapi.ts'
import { renderInbox } from './render.ts'

const folder = fileURLToPath(new URL('../inbox/', import.meta.url))
await mkdir(folder, { recursive: true })
for (const [name, bytes] of await renderInbox()) {
  await writeFile(join(folder, name), bytes)
  console.log(`${name.padEnd(14)} ${String(bytes.byteLength).padStart(6)} bytes`)
}
await writeFile(new URL('../erp.openapi.json', import.meta.url), `${JSON.stringify(openApi, null, 2)}\n`)
