import { canonicalize } from '../core/canonical.ts'
import { jsonSchemaOf } from '../contracts/schema.ts'
import { sha256 } from '../core/hash.ts'
import type { Json } from '../core/json.ts'
import type { AnyTool } from './tool.ts'

const digests = new WeakMap<AnyTool, string>()

/** Changes when what the tool takes or gives changes, as far as its schemas can tell (R9). */
export function toolDigest(tool: AnyTool): string {
  let hash = digests.get(tool)
  if (hash === undefined) {
    const sides = [schemaText(tool.inputSchema, 'input'), schemaText(tool.outputSchema, 'output')]
    hash = sha256(canonicalize([tool.version, tool.description, ...sides])).slice(0, 16)
    digests.set(tool, hash)
  }
  return hash
}

function schemaText(schema: AnyTool['outputSchema'], side: 'input' | 'output'): Json {
  if (schema === undefined) return null
  try {
    return jsonSchemaOf(schema, side)
  } catch {
    // Not every schema can be written down; the tool's version stands for it then.
    return schema['~standard'].vendor
  }
}
