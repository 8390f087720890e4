/** For the ERP's tests: a client that holds every reply against the ERP's own OpenAPI document. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { openApi } from './openapi.ts'
import type { StartErpOptions, Erp } from './start.ts'
import { startErp } from './start.ts'
import type { FaultInput } from './faults.ts'

export interface Reply {
  status: number
  headers: Headers
  /** Of whatever shape: checkReply holds it against the document. */
  body: Record<string, unknown> & { items?: Record<string, unknown>[]; code?: string }
}

export interface Client {
  get(path: string, headers?: Record<string, string>): Promise<Reply>
  post(path: string, key: string | undefined, body: unknown, headers?: Record<string, string>): Promise<Reply>
  audit(): Promise<Record<string, unknown>[]>
  fault(...faults: FaultInput[]): Promise<void>
}

const ajv = new Ajv2020({ strict: false, allErrors: true })
ajv.addSchema({ $id: 'erp', ...openApi })

/** Throws where the document does not describe the reply: unknown operation, status, media type or shape. */
export function checkReply(method: string, path: string, status: number, type: string, body: unknown): void {
  const template = Object.keys(openApi.paths).find((each) => {
    const pattern = each.replace(/\{\w+\}/g, '[^/]+')
    return new RegExp(`^${pattern}$`).test(path.split('?')[0] ?? '')
  })
  const operation = template === undefined ? undefined : openApi.paths[template]?.[method.toLowerCase()]
  const where = `${method} ${path} → ${status} ${type}`
  if (template === undefined || operation === undefined) throw new Error(`no operation for ${where}`)
  const described = operation.responses[String(status)] as { content?: Record<string, unknown> } | undefined
  if (described?.content?.[type] === undefined) throw new Error(`the document has no such reply: ${where}`)
  const escaped = [template, method.toLowerCase(), 'responses', String(status), 'content', type, 'schema'].map((part) =>
    encodeURIComponent(part.replaceAll('~', '~0').replaceAll('/', '~1')),
  )
  const valid = ajv.validate({ $ref: `erp#/paths/${escaped.join('/')}` }, body)
  if (!valid) throw new Error(`${where} does not fit its schema: ${ajv.errorsText()}`)
}

export function client(url: string): Client {
  const call = async (method: string, path: string, init: RequestInit): Promise<Reply> => {
    const response = await fetch(`${url}${path}`, { method, ...init })
    const body = (await response.json()) as Reply['body']
    checkReply(method, path, response.status, response.headers.get('content-type') ?? '', body)
    return { status: response.status, headers: response.headers, body }
  }
  return {
    get: (path, headers = {}) => call('GET', path, { headers }),
    post: (path, key, body, headers = {}) =>
      call('POST', path, {
        body: typeof body === 'string' ? body : JSON.stringify(body),
        headers: {
          'Content-Type': 'application/json',
          ...(key === undefined ? {} : { 'Idempotency-Key': key }),
          ...headers,
        },
      }),
    audit: async () => (await call('GET', '/audit', {})).body as unknown as Record<string, unknown>[],
    fault: async (...faults) => {
      const response = await fetch(`${url}/__faults`, { method: 'POST', body: JSON.stringify(faults) })
      if (response.status !== 204) throw new Error(await response.text())
    },
  }
}

export interface Bench extends Client {
  dataDir: string
  erp(): Erp
  /** Starts the ERP again on the same folder, after it ended by itself or by a test's hand. */
  restart(options?: Partial<StartErpOptions>): Promise<void>
  end(): Promise<void>
}

/** A real ERP process on a folder of its own, with the fault hook open. */
export async function startBench(): Promise<Bench> {
  const dataDir = mkdtempSync(join(tmpdir(), 'convoke-erp-'))
  let erp = await startErp({ dataDir, allowFaults: true })
  let current = client(erp.url)
  return {
    dataDir,
    erp: () => erp,
    restart: async (options = {}) => {
      await erp.stop()
      erp = await startErp({ dataDir, allowFaults: true, ...options })
      current = client(erp.url)
    },
    get: (...args) => current.get(...args),
    post: (...args) => current.post(...args),
    audit: () => current.audit(),
    fault: (...args) => current.fault(...args),
    end: async () => {
      await erp.stop()
      rmSync(dataDir, { recursive: true, force: true })
    },
  }
}
