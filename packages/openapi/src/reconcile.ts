import { ConvokeError, type Json, type JsonObject, type Reconciled, type ToolContext } from 'convoke'
import type { Document } from './document.ts'
import { effectOf } from './effect.ts'
import { unsupported, type Listed } from './operation.ts'
import { inputOf } from './request.ts'
import { senderOf, type Sender } from './sender.ts'
import type { JsonSchema } from './standard.ts'
import type { OpenApiOptions } from './tools.ts'

// What tells whether an operation took effect whose answer was lost: an operation of the same document that reads. It is
// asked by the gateway like any other request, with the same credentials, network rules, time and size; whatever goes
// wrong on the way is no answer, and never a "no".

/** A call whose outcome is unknown, as it was sent. */
export interface UnknownCall {
  /** Parameters by name, and `body`. */
  readonly input: JsonObject
  /** What the request carried, where a header was declared for it. */
  readonly idempotencyKey: string
  readonly businessKey?: string
  readonly tenant: string
  readonly run: string
  readonly path: string
}

/** What the reading operation answered. */
export interface ReadAnswer {
  readonly status: number
  /** What the operation's own tool would give. */
  readonly body: Json
}

/** How an operation's server is asked whether a call of it happened. */
export interface Reconcile {
  /** Another operation of the document, which reads: GET, HEAD, or declared `read`. It need not be a tool. */
  readonly operation: string
  /** What it is asked with. */
  readonly arguments: (call: UnknownCall) => JsonObject
  /**
   * Whether the call took effect. `true` gives what was read as the call's result; where the two differ, `{ happened: true,
   * value }`. `false` only where the server would know by now: the call is then sent again. Else `'unknown'`, and a person is
   * asked. One that throws is no answer.
   */
  readonly happened: (answer: ReadAnswer, call: UnknownCall) => boolean | Reconciled
  /**
   * Statuses besides success that are answers, such as 404 where it says that there is no such thing, and nothing else: a
   * proxy's 404 would have a call sent again.
   */
  readonly answers?: readonly number[]
}

export interface Reconciler {
  readonly hosts: readonly string[] | undefined
  ask(input: unknown, context: ToolContext): Promise<Reconciled>
}

/** @throws OPENAPI_UNSUPPORTED for an operation that does not read, or is not there */
export function reconcilerOf(
  document: Document,
  { id }: Listed,
  its: Reconcile,
  listed: readonly Listed[],
  options: OpenApiOptions,
): Reconciler {
  const place = listed.find((one) => one.id === its.operation)
  if (place === undefined)
    throw unsupported(id, `it is reconciled by ${its.operation}, which the document does not have`)
  if (effectOf(place, options.effects?.[place.id]).class !== 'read')
    throw unsupported(id, `it is reconciled by ${its.operation}, which does more than read`)
  const sender = senderOf(document, place, options, { header: undefined, alsoAnswers: its.answers ?? [] })
  return {
    hosts: sender.hosts,
    async ask(given, context) {
      const call: UnknownCall = {
        input: inputOf(given),
        idempotencyKey: context.idempotencyKey,
        ...(context.businessKey === undefined ? {} : { businessKey: context.businessKey }),
        tenant: context.tenant,
        run: context.run,
        path: context.path,
      }
      const input = await fitting(place.id, 'TOOL_INPUT_INVALID', sender.input, its.arguments(call))
      const answer = await answerOf(sender, input, context)
      const said = its.happened(answer, call)
      if (said === true) return { happened: true, value: answer.body }
      return said === false ? { happened: false } : said
    },
  }
}

async function answerOf(sender: Sender, input: JsonObject, context: ToolContext): Promise<ReadAnswer> {
  const { id } = sender.operation
  const answered = await sender.send(input, context)
  if ('failed' in answered)
    throw new ConvokeError('TOOL_FAILED', `${id} answered ${answered.failed.status}`, {
      details: { operation: id, status: answered.failed.status },
      next: 'where this status is an answer, name it in `answers`',
    })
  const { status, body, also } = answered
  // What does not fit the document may not mean what it seems to.
  await fitting(id, 'TOOL_OUTPUT_INVALID', sender.output, also ? { status, body } : body)
  return { status, body }
}

async function fitting<T extends Json>(
  operation: string,
  code: 'TOOL_INPUT_INVALID' | 'TOOL_OUTPUT_INVALID',
  schema: JsonSchema<T>,
  value: Json,
): Promise<T> {
  const checked = await schema['~standard'].validate(value)
  if (checked.issues === undefined) return checked.value
  const what = code === 'TOOL_INPUT_INVALID' ? 'arguments for' : 'answer of'
  const why = checked.issues.slice(0, 3).map((issue) => issue.message)
  throw new ConvokeError(code, `the ${what} ${operation} do not fit: ${why.join('; ')}`, { details: { operation } })
}
