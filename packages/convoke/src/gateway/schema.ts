import type { StandardSchemaV1 } from '@standard-schema/spec'
import { canonicalize, decode } from '../core/canonical.ts'
import type { Json } from '../core/json.ts'

export interface Problem {
  /** JSON Pointer (RFC 6901) to the place; '' is the whole value. */
  readonly pointer: string
  readonly message: string
}

export type Checked =
  | { readonly ok: true; readonly value: Json | undefined }
  | { readonly ok: false; readonly problems: readonly Problem[] }

const maxProblems = 20

/** Checks a value and gives what the schema made of it, as frozen canonical data. */
export async function check(schema: StandardSchemaV1 | undefined, value: unknown): Promise<Checked> {
  let made = value
  if (schema !== undefined) {
    const result = await schema['~standard'].validate(value)
    if (result.issues !== undefined)
      return {
        ok: false,
        problems: result.issues.slice(0, maxProblems).map((issue) => ({
          pointer: (issue.path ?? [])
            .map(
              (part) =>
                '/' +
                String(typeof part === 'object' ? part.key : part)
                  .replaceAll('~', '~0')
                  .replaceAll('/', '~1'),
            )
            .join(''),
          message: issue.message,
        })),
      }
    made = result.value
  }
  if (made === undefined) return { ok: true, value: undefined }
  try {
    return { ok: true, value: decode(canonicalize(made)) }
  } catch (error) {
    const { message, details } = error as { message: string; details?: { pointer?: string } }
    return { ok: false, problems: [{ pointer: details?.pointer ?? '', message }] }
  }
}

export function problemText(problems: readonly Problem[]): string {
  return problems.map((p) => `${p.pointer === '' ? 'the value' : p.pointer}: ${p.message}`).join('; ')
}
