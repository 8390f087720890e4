import { ConvokeError, toErrorData } from '../core/errors.ts'
import type { Claim } from './claim.ts'
import { givenUp } from './given-up.ts'
import { Scope, type EngineHandle } from './scope.ts'
import { makeTask, type TaskHost } from './task.ts'
import type { Completion, Operation } from './types.ts'

/** What a claim needs of the engine to be begun. */
interface Beginner extends EngineHandle, TaskHost {
  readonly tenant: string
  readonly run: string
  complete(claim: Claim, completion: Completion): void
}

/** Lets the claim's executor work; live only. */
export function execute(engine: Beginner, claim: Claim): void {
  claim.state = 'started'
  if (claim.scope.dead && claim.history.length === 0) {
    engine.complete(claim, { error: givenUp(claim.scope).toJSON() })
    return
  }
  if (claim.operation.execute === undefined) {
    engine.stop(new ConvokeError('DEFINITION_INVALID', `step ${claim.path} has nothing to execute`))
    return
  }
  claim.operation.execute(makeTask(engine, claim)).then(
    (completion) => engine.complete(claim, completion),
    (error: unknown) => engine.complete(claim, { error: toErrorData(error) }),
  )
}

/** Runs code that claims steps in a scope of its own, live and on replay. */
export function orchestrate(engine: Beginner, claim: Claim): void {
  const inner = new Scope(engine, claim.path, claim.scope, { fold: claim.operation.fold === true, tracksReads: true })
  if (claim.operation.flow === 'data') inner.begin(claim.causes, claim.labels)
  claim.inner = inner
  claim.state = 'started'
  const code = async (): Promise<Completion> =>
    (claim.operation.orchestrate as NonNullable<Operation['orchestrate']>)(inner, makeTask(engine, claim))
  void code().then(
    (completion) => engine.complete(claim, { ...(inner.reads?.length ? { reads: inner.reads } : {}), ...completion }),
    (error: unknown) => engine.complete(claim, { error: toErrorData(error) }),
  )
}
