import type { Scope } from '../replay/scope.ts'
import type { StepPromise } from '../replay/step-promise.ts'
import type { Operation } from '../replay/types.ts'
import { callOperation } from './call.ts'
import { decideOperation, type ApproveOptions, type Approval, type DecideOptions } from './decide.ts'
import type { Caller, CallOptions, GatewayDeps } from './deps.ts'
import { relabelOperation, type RelabelOptions, type SaidBy } from './relabel.ts'
import type { AnyTool, Tool } from './tool.ts'

/** What takes a call back: a tool that takes the call's result, or a tool and how its input is made of both. */
export type UndoOf<I, O> =
  Tool<O, unknown> | { readonly tool: AnyTool; readonly input: (result: O, args: I) => unknown }

export interface RunCallOptions<I, O> extends CallOptions {
  /** Called when the scope rolls back, through the same gateway. */
  readonly undo?: UndoOf<I, O>
}

/** What the gateway adds to a run. */
export interface GatewayRun {
  /**
   * Calls a tool through the gateway.
   * @throws TOOL_INPUT_INVALID, SCOPE_DENIED, GUARDRAIL_DENIED, BUSINESS_KEY_TAKEN, APPROVAL_REJECTED, APPROVAL_EXPIRED,
   *   EFFECT_HELD before anything happened; TOOL_FAILED, TOOL_UNREACHABLE, TOOL_TIMEOUT, TOOL_OUTPUT_INVALID,
   *   TOOL_RESULT_TOO_LARGE, MAYBE_EXECUTED after
   */
  call<I, O>(tool: Tool<I, O>, input: NoInfer<I>, options?: RunCallOptions<NoInfer<I>, NoInfer<O>>): StepPromise<O>
  /**
   * Asks a person for a judgement.
   * @throws APPROVAL_REJECTED when they decline, APPROVAL_EXPIRED when nobody answers in time
   */
  decide<T>(name: string, options: DecideOptions<T>): StepPromise<T>
  /** Asks a person for a yes or no. @throws APPROVAL_EXPIRED when nobody answers in time */
  approve(name: string, options?: ApproveOptions): StepPromise<Approval>
  /**
   * Has an untrusted value vouched for: what comes back is trusted, what the scope has seen is not. To use it without the
   * rest, say `flow: 'data'` where it goes.
   * @throws FLOW_DENIED, APPROVAL_REJECTED, APPROVAL_EXPIRED
   */
  endorse<T>(name: string, value: T, options: SaidBy & RelabelOptions): StepPromise<T>
  /**
   * Takes confidentiality labels off a value.
   * @throws FLOW_DENIED, APPROVAL_REJECTED, APPROVAL_EXPIRED
   */
  declassify<T>(
    name: string,
    value: T,
    options: Exclude<SaidBy, { fields: unknown }> & RelabelOptions & { readonly release: readonly string[] },
  ): StepPromise<T>
}

/** The gateway's methods for the run object of a scope. */
export function extendGateway(deps: GatewayDeps, caller: Caller = {}): (scope: Scope) => GatewayRun {
  return (scope) => {
    const spend = caller.spend ?? deps.spend?.(scope.engine)
    const its: Caller = spend === undefined ? caller : { ...caller, spend }
    const claim = <T>(operation: Operation): StepPromise<T> => scope.engine.claim(scope, operation) as StepPromise<T>
    return {
      call: <I, O>(tool: Tool<I, O>, input: I, options: RunCallOptions<I, O> = {}): StepPromise<O> => {
        const { undo } = options
        return claim<O>(
          callOperation(
            deps,
            its,
            tool,
            input,
            options,
            undo === undefined ? undefined : (result) => undoOperation(deps, its, undo, result as O, input),
          ),
        )
      },
      decide: <T>(name: string, options: DecideOptions<T>): StepPromise<T> =>
        claim<T>(decideOperation(deps, name, options)),
      endorse: <T>(name: string, value: T, options: SaidBy & RelabelOptions): StepPromise<T> =>
        claim<T>(relabelOperation(deps, 'endorse', name, value, { integrity: 'trusted' }, options)),
      declassify: <T>(
        name: string,
        value: T,
        { release, ...options }: SaidBy & RelabelOptions & { readonly release: readonly string[] },
      ): StepPromise<T> => claim<T>(relabelOperation(deps, 'declassify', name, value, { release }, options)),
      approve: (name, options = {}) => claim<Approval>(decideOperation(deps, name, { ...options, yesOrNo: true })),
    }
  }
}

/** The operation that takes a call back; its path is set by whoever rolls back. */
export function undoOperation<I, O>(
  deps: GatewayDeps,
  caller: Caller,
  undo: UndoOf<I, O>,
  result: O,
  input: I,
): Operation {
  if ('kind' in undo) return callOperation(deps, caller, undo, result, { from: [result] })
  return callOperation(deps, caller, undo.tool, undo.input(result, input), { from: [result] })
}
