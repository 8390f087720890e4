import { codes, type Code, type Handling } from './codes.ts'
import type { Json, JsonObject } from './json.ts'

/** An error as it stands in records and crosses processes: no stack, no class. */
export interface ErrorData {
  readonly code: string
  readonly message: string
  readonly details?: JsonObject
  readonly next?: string
}

export interface ErrorOptions {
  /** JSON-safe facts a program can act on. */
  readonly details?: JsonObject
  /** The next command or act that helps. */
  readonly next?: string
  readonly cause?: unknown
}

/**
 * The one error class. `code` is API (docs/errors/<code>.md); `handling` says which decision it asks for. Codes that
 * user code throws (`code` outside our list) are kept and handled as `failed`.
 */
export class ConvokeError extends Error {
  readonly code: string
  readonly details: JsonObject | undefined
  readonly next: string | undefined

  constructor(code: Code | (string & {}), message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'ConvokeError'
    this.code = code
    this.details = options.details
    this.next = options.next
  }

  get handling(): Handling {
    return (codes as Record<string, { handling: Handling }>)[this.code]?.handling ?? 'failed'
  }

  toJSON(): ErrorData {
    return {
      code: this.code,
      message: this.message,
      ...(this.details === undefined ? {} : { details: this.details }),
      ...(this.next === undefined ? {} : { next: this.next }),
    }
  }
}

export function isConvokeError(error: unknown, code?: Code): error is ConvokeError {
  return error instanceof ConvokeError && (code === undefined || error.code === code)
}

/** Turns whatever was thrown into recordable data. Stacks, classes and non-JSON details are left behind. */
export function toErrorData(error: unknown, fallback: Code = 'STEP_FAILED'): ErrorData {
  if (error instanceof ConvokeError) return error.toJSON()
  if (error instanceof Error) {
    const code = (error as { code?: unknown }).code
    return {
      code: typeof code === 'string' && /^[A-Z][A-Z0-9_]{2,60}$/.test(code) ? code : fallback,
      message: clean(error.message),
    }
  }
  return { code: fallback, message: clean(String(error)) }
}

export function fromErrorData(data: ErrorData): ConvokeError {
  return new ConvokeError(data.code, data.message, {
    ...(data.details === undefined ? {} : { details: data.details }),
    ...(data.next === undefined ? {} : { next: data.next }),
  })
}

export function errorJson(data: ErrorData): Json {
  return { ...data } as unknown as Json
}

/** Lone surrogates would make the record itself impossible to write. */
function clean(text: string): string {
  return text.toWellFormed().slice(0, 20_000)
}
