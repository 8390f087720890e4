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

/** Turns whatever was thrown into recordable data. Stacks, classes and non-JSON details are left behind. Never throws. */
export function toErrorData(error: unknown, fallback: Code = 'STEP_FAILED'): ErrorData {
  try {
    if (error instanceof ConvokeError) {
      const { code, message, details, next } = error
      const kept = details === undefined ? undefined : plain(details)
      return {
        code: clean(code),
        message: clean(message),
        ...(kept === undefined ? {} : { details: kept }),
        ...(next === undefined ? {} : { next: clean(next) }),
      }
    }
    if (error instanceof Error) {
      const code = (error as { code?: unknown }).code
      return {
        code: typeof code === 'string' && /^[A-Z][A-Z0-9_]{2,60}$/.test(code) ? code : fallback,
        message: clean(error.message),
      }
    }
    return { code: fallback, message: clean(error) }
  } catch {
    return { code: fallback, message: 'something was thrown that cannot be read' }
  }
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
function clean(text: unknown): string {
  return String(text).toWellFormed().slice(0, 20_000).toWellFormed()
}

/** Details as JSON that a record can hold; undefined when they have none. */
function plain(details: JsonObject): JsonObject | undefined {
  try {
    const text = JSON.stringify(details, (_, value: unknown) => {
      if (typeof value === 'bigint') return String(value)
      if (typeof value === 'number' && Number.isInteger(value) && !Number.isSafeInteger(value)) return String(value)
      return typeof value === 'string' ? value.toWellFormed() : value
    })
    // Only a key can still hold a lone surrogate.
    if (text.includes('\\ud')) return undefined
    const kept = JSON.parse(text) as Json
    return typeof kept === 'object' && kept !== null && !Array.isArray(kept) ? (kept as JsonObject) : undefined
  } catch {
    return undefined
  }
}
