import type { StandardJSONSchemaV1, StandardSchemaV1 } from '@standard-schema/spec'
import type { Ajv2020, ErrorObject, ValidateFunction } from 'ajv/dist/2020.js'
import type { Json, JsonObject } from 'convoke'

/** Input checked against JSON Schema; what it says is what models are shown. */
export type JsonSchema<T> = StandardSchemaV1<T, T> & StandardJSONSchemaV1<T, T>

/** Loaded and made with the first schema; that costs as much as a hundred schemas. */
let loading: Promise<Ajv2020> | undefined

async function compile(schema: JsonObject): Promise<ValidateFunction> {
  loading ??= import('ajv/dist/2020.js').then(
    ({ Ajv2020 }) =>
      new Ajv2020({
        strict: false,
        allErrors: true,
        logger: false,
        meta: false,
        validateSchema: false,
        validateFormats: false,
        addUsedSchema: false,
        // `constructor` is in every object, and in none as data.
        ownProperties: true,
        // Most are used a few times, and optimizing one takes as long as compiling it.
        code: { regExp: Object.assign(lenientRegExp, { code: 'lenient' }), optimize: false },
      }),
  )
  return (await loading).compile(schema)
}

/**
 * A JSON Schema 2020-12 as Standard Schema. Nothing is built before it is first used: a catalogue of a thousand tools
 * costs nothing but their names. Formats are annotations, as the specification has it: the server knows them better.
 */
export function fromJsonSchema<T extends Json | undefined>(make: () => JsonObject): JsonSchema<T> {
  let schema: JsonObject | undefined
  let check: ValidateFunction | undefined
  const json = (): JsonObject => (schema ??= make())
  return {
    '~standard': {
      version: 1,
      vendor: 'convoke-openapi',
      async validate(value) {
        check ??= await compile(json())
        if (check(value) === true) return { value: value as T }
        return { issues: issuesOf(check.errors ?? []) }
      },
      jsonSchema: { input: json, output: json },
    },
  }
}

/** Documents hold patterns of many languages: what JavaScript cannot read forbids nothing. */
function lenientRegExp(pattern: string): { test: (text: string) => boolean } {
  for (const flags of ['u', '']) {
    try {
      return new RegExp(pattern, flags)
    } catch {
      continue
    }
  }
  return /(?:)/
}

function issuesOf(errors: readonly ErrorObject[]): StandardSchemaV1.Issue[] {
  return errors.slice(0, 20).map((error) => ({ message: sentence(error), path: pathOf(error.instancePath) }))
}

function pathOf(pointer: string): string[] {
  return pointer
    .split('/')
    .slice(1)
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
}

function sentence(error: ErrorObject): string {
  const params = error.params as Readonly<Record<string, unknown>>
  switch (error.keyword) {
    case 'additionalProperties':
      return `there is no ${JSON.stringify(params['additionalProperty'])} here`
    case 'enum':
      return `must be one of ${JSON.stringify(params['allowedValues']).slice(0, 300)}`
    case 'const':
      return `must be ${JSON.stringify(params['allowedValue']).slice(0, 300)}`
    default:
      return error.message ?? error.keyword
  }
}
