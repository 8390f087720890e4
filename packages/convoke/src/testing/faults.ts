import { ConvokeError } from '../core/errors.ts'
import type { ModelResponse, Part } from '../ports/model.ts'

export type ScriptedReply = string | readonly Part[] | ScriptedResponse | ConvokeError | Fault
/** What is left out is filled in: the finish, counted tokens, a response id. */
export type ScriptedResponse = Partial<ModelResponse> & Pick<ModelResponse, 'parts'>

/** A reply that needs time: `silent` never comes, `delayed` comes late. */
export type Fault =
  | { readonly fault: true; readonly kind: 'silent' }
  | { readonly fault: true; readonly kind: 'delayed'; readonly ms: number; readonly reply: ScriptedReply }

export function isFault(reply: ScriptedReply): reply is Fault {
  return typeof reply === 'object' && 'fault' in reply
}

/**
 * Ways in which real models misbehave, as replies of a scripted one. Where it should go well later, let the rule look
 * at `attempt`: `attempt === 1 ? faults.rateLimited(1500) : answer`.
 */
export const faults: {
  /** JSON as models botch it: in a code fence, with a trailing comma and the last bracket missing. */
  malformedJson(json: string): string
  /** Breaks off after `share` of the text (default one half) as if `maxOutputTokens` had run out. */
  truncated(text: string, share?: number): ScriptedResponse
  /** 429; the port's `details.retryAfterMs`. */
  rateLimited(retryAfterMs: number): ConvokeError
  /** 500 and its like. */
  serverError(status?: number): ConvokeError
  /** 4xx: the same request will be refused again. */
  refused(message: string): ConvokeError
  /** Nothing comes until the model's idle time-out passes or the caller aborts. */
  silent(): Fault
  delayed(ms: number, reply: ScriptedReply): Fault
} = {
  malformedJson: (json) => `\`\`\`json\n${json.trimEnd().replace(/[}\]]$/, ',')}`,
  truncated: (text, share = 0.5) => ({
    parts: [{ type: 'text', text: text.slice(0, Math.floor(text.length * share)).toWellFormed() }],
    finish: 'length',
  }),
  rateLimited: (retryAfterMs) =>
    new ConvokeError('MODEL_RATE_LIMITED', 'the scripted model asks to wait', {
      details: { reason: 'status', status: 429, retryAfterMs },
    }),
  serverError: (status = 500) =>
    new ConvokeError('MODEL_UNREACHABLE', `the scripted model answered ${status}`, {
      details: { reason: 'status', status },
    }),
  refused: (message) => new ConvokeError('MODEL_REFUSED', message, { details: { reason: 'status', status: 400 } }),
  silent: () => ({ fault: true, kind: 'silent' }),
  delayed: (ms, reply) => ({ fault: true, kind: 'delayed', ms, reply }),
}
