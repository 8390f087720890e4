import type { StandardSchemaV1 } from '@standard-schema/spec'
import { check as checkSchema, type Checked, type Issue } from '../contracts/schema.ts'
import type { Json } from '../core/json.ts'

const anything: StandardSchemaV1 = {
  '~standard': { version: 1, vendor: 'convoke', validate: (value) => ({ value }) },
}

/** Holds a value against a schema; without one, it must still be data. */
export function check(schema: StandardSchemaV1 | undefined, value: unknown): Promise<Checked<Json | undefined>> {
  return checkSchema(schema ?? anything, value) as Promise<Checked<Json | undefined>>
}

export function issueText(issues: readonly Issue[]): string {
  return issues.map((i) => `${i.pointer === '' ? 'the value' : i.pointer}: ${i.message}`).join('; ')
}
