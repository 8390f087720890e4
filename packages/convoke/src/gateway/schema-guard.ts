import { createRequire } from 'node:module'
import type { StandardSchemaV1 } from '@standard-schema/spec'
import type * as Zod from 'zod'
import { isSchema } from '../contracts/schema.ts'
import { ConvokeError } from '../core/errors.ts'
import { sha256 } from '../core/hash.ts'
import { canonicalize } from '../core/canonical.ts'
import type { Json, JsonObject } from '../core/json.ts'
import type { Guardrail, Verdict } from './guardrail.ts'
import { check, issueText } from './schema.ts'
import { withTypes } from './typed-schema.ts'

export interface SchemaGuardOptions {
  readonly name: string
  /** To be changed with a schema that cannot be compared, such as one with checks in code. */
  readonly version?: string
  /** Tool names with `*`; all tools unless said. */
  readonly tools?: string
  /** What arguments must fit besides the tool's own schema: Standard Schema, or a JSON Schema document. */
  readonly input?: StandardSchemaV1 | JsonObject
  /** What results must fit. */
  readonly output?: StandardSchemaV1 | JsonObject
  /** What becomes of what does not fit; denied unless said. */
  readonly otherwise?: 'deny' | { readonly ask: { readonly category: string; readonly group?: string } }
}

/**
 * A guardrail that holds calls against a schema of the app's owner, which narrows the tool's own.
 * @throws DEFINITION_INVALID for a JSON Schema that cannot be used
 */
export function schemaGuard(options: SchemaGuardOptions): Guardrail {
  const { name, tools, otherwise = 'deny' } = options
  const input = options.input === undefined ? undefined : schemaOf(name, options.input)
  const output = options.output === undefined ? undefined : schemaOf(name, options.output)
  const documents = [options.input, options.output].map((s) => (s === undefined || isSchema(s) ? null : (s as Json)))
  const version =
    options.version ?? (documents.some((d) => d !== null) ? sha256(canonicalize(documents)).slice(0, 8) : undefined)
  const verdict = async (schema: StandardSchemaV1, value: Json | undefined): Promise<Verdict> => {
    const checked = await check(schema, value)
    if (checked.ok) return 'allow'
    const why = issueText(checked.issues.slice(0, 5))
    return otherwise === 'deny' ? { deny: why } : { ask: why, ...otherwise.ask }
  }
  return {
    name,
    ...(version === undefined ? {} : { version }),
    ...(tools === undefined ? {} : { tools }),
    ...(input === undefined ? {} : { before: (call) => verdict(input, call.input) }),
    ...(output === undefined ? {} : { after: (call) => verdict(output, call.output) }),
  }
}

function schemaOf(name: string, schema: StandardSchemaV1 | JsonObject): StandardSchemaV1 {
  if (isSchema(schema)) return schema
  try {
    // Loaded here, so that starting up does not pay for it.
    const { fromJSONSchema } = createRequire(import.meta.url)('zod') as typeof Zod
    return fromJSONSchema(withTypes(schema) as Parameters<typeof fromJSONSchema>[0])
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw new ConvokeError('DEFINITION_INVALID', `the JSON Schema of guardrail ${name} cannot be used: ${why}`, {
      details: { guardrail: name },
      next: 'use keywords of JSON Schema 2020-12, or a schema of a library',
      cause: error,
    })
  }
}
