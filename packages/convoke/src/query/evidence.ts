import { isForbidden } from '../core/codes.ts'
import type { ErrorData } from '../core/errors.ts'
import type { Json, JsonObject } from '../core/json.ts'
import type { RecordRef } from '../core/record.ts'
import { list, object, text, type Entry, type RunRecords } from './records.ts'
import type { Step } from './steps.ts'

/** A statement of an outcome, with the places that support it. */
export interface Claim {
  readonly statement: string
  readonly evidence: readonly {
    readonly record: RecordRef
    readonly quote: string
    /** Where the record stands in the run, such as `validation/erp.getReceipts`. */
    readonly path?: string
    /** The tool or role whose words these are. */
    readonly source?: string
  }[]
}

export function claimsOf(outcome: JsonObject | undefined, records: RunRecords): readonly Claim[] {
  return list(outcome?.['claims']).flatMap((item) => {
    const claim = object(item)
    if (claim === undefined) return []
    return {
      statement: text(claim['statement']) ?? text(claim['claim']) ?? text(claim['text']) ?? JSON.stringify(claim),
      evidence: list(claim['evidence']).flatMap((cited) => {
        const one = object(cited)
        const record = text(one?.['record'])
        if (one === undefined || record === undefined) return []
        const entry = records.byRef.get(record)
        const path = entry?.record.path
        const source = text(entry?.payload['target']) ?? sourceName(entry?.record.type)
        return {
          record,
          quote: text(one['quote']) ?? '',
          ...(path === undefined ? {} : { path }),
          ...(source === undefined ? {} : { source }),
        }
      }),
    }
  })
}

function sourceName(type: string | undefined): string | undefined {
  if (type === 'briefing.shown') return 'briefing'
  if (type === 'task.requested') return 'task'
  return type === 'run.input' ? 'input' : undefined
}

/** Something that was tried and not accepted. */
export interface Rejection {
  readonly ref: RecordRef
  /**
   * `answer`: sent back to the agent. `verdict`: a verifier said no. `retry`: a model or tool was tried again. `denied`: the
   * agent tried what it may not.
   */
  readonly kind: 'answer' | 'verdict' | 'retry' | 'denied'
  readonly path: string
  readonly problems: readonly string[]
  /** Who said no, where that is somebody. */
  readonly by?: string
  readonly repair?: number
  readonly of?: number
}

export function rejectionsIn(step: Step): readonly Rejection[] {
  const found: Rejection[] = []
  for (const { ref, record, payload: p } of step.entries) {
    const at = { ref, path: step.path }
    if (record.type === 'answer.rejected')
      found.push({ ...at, kind: 'answer', problems: problems(p['problems']), ...numbers(p) })
    else if (/^(model|tool|step)\.retrying$/.test(record.type)) {
      const error = p['error'] as unknown as ErrorData | undefined
      found.push({ ...at, kind: 'retry', problems: error === undefined ? [] : [`${error.code}: ${error.message}`] })
    } else if (record.type === 'step.failed' && record.fold !== undefined && isDenial(p['error'])) {
      const { code, message } = p['error'] as unknown as ErrorData
      found.push({ ...at, kind: 'denied', problems: [`${code}: ${message}`] })
    } else if (p['op'] === 'verify' && object(p['value'])?.['ok'] === false) {
      const by = text(object(p['value'])?.['by'])
      found.push({
        ...at,
        kind: 'verdict',
        problems: problems(object(p['value'])?.['problems']),
        ...(by === undefined ? {} : { by }),
      })
    }
  }
  return found
}

function isDenial(error: Json | undefined): boolean {
  const code = text(object(error)?.['code'])
  return code !== undefined && isForbidden(code)
}

function numbers(p: JsonObject): { repair?: number; of?: number } {
  return {
    ...(typeof p['repair'] === 'number' ? { repair: p['repair'] } : {}),
    ...(typeof p['of'] === 'number' ? { of: p['of'] } : {}),
  }
}

function problems(value: Json | undefined): readonly string[] {
  return list(value).map((item) => text(item) ?? text(object(item)?.['message']) ?? JSON.stringify(item))
}

/** What a verifier said. */
export interface Verdict {
  readonly ref: RecordRef
  readonly path: string
  readonly by: string
  readonly ok: boolean
  readonly problems: readonly string[]
}

export function verdictOf({ ref, record, payload }: Entry): Verdict {
  const said = object(payload['value'])
  return {
    ref,
    path: record.path ?? '',
    by: text(said?.['by']) ?? text(payload['target']) ?? 'its verifier',
    ok: said?.['ok'] === true,
    problems: problems(said?.['problems']),
  }
}
