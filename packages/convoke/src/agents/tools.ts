import { ConvokeError, toErrorData, type ErrorData } from '../core/errors.ts'
import type { Json } from '../core/json.ts'
import { refOf, type RecordRef } from '../core/record.ts'
import { parseForeign } from '../core/foreign-json.ts'
import { jsonSchemaOf } from '../contracts/schema.ts'
import type { AnyRole } from '../contracts/role.ts'
import { callOperation } from '../gateway/call.ts'
import type { Caller } from '../gateway/deps.ts'
import { undoOperation, type RunCallOptions } from '../gateway/extend.ts'
import { matches } from '../core/patterns.ts'
import { reaches } from '../grants/grant.ts'
import type { AnyTool, Tool } from '../gateway/tool.ts'
import type { ModelTool, Part } from '../ports/model.ts'
import type { Operation } from '../replay/types.ts'
import { catalogOperation, catalogTools, meantCall, stepName } from './catalog.ts'
import { recordedMessage, resultOf, storedMessage, toolMessage, type Added } from './conversation.ts'
import type { AgentDeps, AskWork } from './work.ts'

type CallPart = Extract<Part, { type: 'tool-call' }>

/** What a model may call: the role's tools, `ask.<role>` for each role it may ask, and what finds tools of catalogues. */
export interface Toolbox {
  readonly listed: readonly ModelTool[]
  readonly operation: (name: string, input: Json, step: string) => Operation | undefined
}

const askPrefix = 'ask.'

export function toolbox(work: AskWork): Toolbox {
  const { deps, role } = work
  const reachable = toolsOf(deps, role)
  const catalogued = reachable.filter((tool) => tool.catalog !== undefined)
  const listed: ModelTool[] = reachable
    .filter((tool) => tool.catalog === undefined)
    .map((tool) => ({
      name: tool.name,
      description: tool.description,
      inputSchema: jsonSchemaOf(tool.inputSchema),
    }))
  listed.push(...catalogTools(catalogued))
  for (const name of role.mayAsk) {
    const asked = deps.roles.get(name)
    if (asked !== undefined)
      listed.push({
        name: `${askPrefix}${name}`,
        description: `Asks the role ${name}. ${asked.description ?? ''}`.trim(),
        inputSchema: jsonSchemaOf(asked.input),
      })
  }
  return {
    listed,
    // What is known but out of reach is asked for all the same, so that the refusal is on record.
    operation(said, given, step) {
      const { tool: name, input } = meantCall(said, given) ?? { tool: said, input: given }
      const tool = deps.tools.get(name)
      if (tool !== undefined) return callOf(work, tool, input as never, { name: step })
      const looked = catalogOperation(catalogued, name, input, step)
      if (looked !== undefined) return looked
      const asked = name.startsWith(askPrefix) ? deps.roles.get(name.slice(askPrefix.length)) : undefined
      return asked === undefined ? undefined : work.nested(asked, input, { name: step })
    },
  }
}

/** Tools of the app that are within a role's reach; its list may use `*`. */
export function toolsOf(deps: Pick<AgentDeps, 'tools'>, role: AnyRole): AnyTool[] {
  const { tools, grants } = role
  return [...deps.tools.values()].filter(
    (tool) => tools.some((pattern) => matches(pattern, tool.name)) && (grants === undefined || reaches(grants, tool)),
  )
}

/** A call on behalf of the ask's agent; the gateway judges it by the role. */
export function callOf<I, O>(work: AskWork, tool: Tool<I, O>, input: I, options: RunCallOptions<I, O>): Operation {
  const { agent, role, deps } = work
  const caller: Caller = {
    actor: { kind: 'agent', id: agent.name, version: agent.version },
    role: role.name,
    tools: role.tools,
    ...(role.grants === undefined ? {} : { grants: { from: `role:${role.name}`, grants: role.grants } }),
    bounds: work.bounds,
    spend: { assert: () => work.assertBudget(), used: (usage) => work.used(usage) },
  }
  const { undo, ...rest } = options
  return callOperation(
    deps.gateway,
    caller,
    tool,
    input,
    rest,
    undo === undefined ? undefined : (result) => undoOperation(deps.gateway, caller, undo, result as O, input),
  )
}

export interface Used {
  readonly added: Added
  /** The record that holds the result; absent when the call never began. */
  readonly ref?: RecordRef
}

const maxCalls = 32

/**
 * Makes the calls of one turn, each a step of its own. What fails is an answer that the model sees; only what stops
 * the run or gives the ask up is thrown.
 */
export async function useTools(work: AskWork, tools: Toolbox, calls: readonly CallPart[]): Promise<readonly Used[]> {
  const names = new Map<string, number>()
  const settled = await Promise.allSettled(
    calls.map((call, i) => {
      const name = stepName(call.tool, call.input)
      const nth = (names.get(name) ?? 0) + 1
      names.set(name, nth)
      return useTool(work, tools, call, nth === 1 ? name : `${name}:${nth}`, i)
    }),
  )
  const thrown = settled.find((result) => result.status === 'rejected')
  if (thrown !== undefined) throw thrown.reason
  return settled.map((result, i) => {
    const { value } = result as PromiseFulfilledResult<Made>
    const call = calls[i] as CallPart
    const { ref } = value
    if (ref === undefined) return { added: storedMessage(toolMessage(call, value)) }
    const segment =
      value.error === undefined && work.role.evidence !== 'none'
        ? work.evidence.add({ content: value.value ?? null, from: { record: ref }, title: call.tool, asOf: value.at })
            .id
        : undefined
    return { ref, added: recordedMessage(toolMessage(call, value, segment), ref, segment) }
  })
}

interface Made {
  readonly value?: Json
  readonly error?: ErrorData
  readonly ref?: RecordRef
  readonly at: number
}

async function useTool(work: AskWork, tools: Toolbox, call: CallPart, step: string, index: number): Promise<Made> {
  const refused = (error: ConvokeError): Made => ({ error: error.toJSON(), at: work.engine.time })
  if (index >= maxCalls)
    return refused(
      new ConvokeError('TOOL_INPUT_INVALID', `more than ${maxCalls} calls in one turn; this one was not made`),
    )
  let input: Json
  try {
    input = call.input.trim() === '' ? {} : parseForeign(call.input).value
  } catch (error) {
    return refused(
      new ConvokeError(
        'TOOL_INPUT_INVALID',
        `the arguments of ${call.tool} are not JSON: ${toErrorData(error).message}`,
        {
          next: 'call it again with one JSON object',
        },
      ),
    )
  }
  let made: { ref: RecordRef; at: number; value: Json } | undefined
  try {
    const operation = tools.operation(call.tool, input, step)
    if (operation === undefined)
      return refused(
        new ConvokeError('TOOL_UNKNOWN', `there is no tool ${call.tool}`, {
          details: { tools: tools.listed.map((tool) => tool.name) },
        }),
      )
    await work.claim<unknown>({
      ...operation,
      applied: (entry) => {
        made = { ref: refOf(entry.record), at: entry.record.at, value: resultOf(entry.payload) }
        operation.applied?.(entry)
      },
    })
    return made ?? { value: null, at: work.engine.time }
  } catch (error) {
    if (work.scope.dead || endsAsk(error)) throw error
    return {
      error: toErrorData(error, 'TOOL_FAILED'),
      at: work.engine.time,
      ...(made === undefined ? {} : { ref: made.ref }),
    }
  }
}

/** Errors that are no answer for a model: they stop the run, or end the ask that asked. */
export function endsAsk(error: unknown): boolean {
  if (!(error instanceof ConvokeError)) return false
  return error.handling === 'stopped' || error.handling === 'lost' || error.code === 'BUDGET_EXCEEDED'
}
