import { ConvokeError } from '../core/errors.ts'
import { sha256 } from '../core/hash.ts'
import type { JsonObject } from '../core/json.ts'
import { isLabelled, type Labels } from '../core/labels.ts'
import { runStream } from '../core/projections.ts'
import type { Actor } from '../core/record.ts'
import type { InboxMessage, Ledger } from '../ports/ledger.ts'
import type { History } from './history.ts'
import type { ChildDeps } from './operations.ts'
import { startRun, type StartDeps } from './start.ts'
import type { AnyWorkflow } from './workflow.ts'

interface Parent {
  readonly tenant: string
  readonly run: string
  readonly history: History
}

/**
 * Starts children of a run. A fork's child is a fork of the child that the original had at the same place, sharing
 * nothing but what it descends from: so what that child already did outside is held there as well (R9).
 */
export function childStarts(
  deps: StartDeps & { readonly workflows: ReadonlyMap<string, AnyWorkflow> },
  parent: Parent,
  actor: Actor,
): Pick<ChildDeps, 'start' | 'childId'> {
  const { fork, started, ancestors } = parent.history
  return {
    childId: (id) => (fork === undefined ? id : `${id}.${sha256(parent.run).slice(0, 10)}`),
    start: async (child, at, labels) => {
      const workflow = deps.workflows.get(child.workflow)
      if (workflow === undefined) throw unknownWorkflow(child.workflow)
      const before = ancestors.findLast((e) => e.record.type === 'child.requested' && e.record.path === at.path)
      const origin =
        fork === undefined || before === undefined
          ? {}
          : await forkOf(deps.ledger, parent.tenant, before.payload['child'] as string, {
              reuse: fork.reuse,
              effects: fork.effects,
              use: { ...fork.use },
            })
      const { existed } = await startRun(
        {
          ...origin,
          tenant: parent.tenant,
          run: child.run,
          workflow,
          input: child.input,
          ...(isLabelled(labels) ? { labels } : {}),
          actor,
          parent: at,
          tags: child.tags,
          root: (started.payload['root'] as string | undefined) ?? parent.run,
          ...(started.payload['bounds'] === undefined ? {} : { bounds: started.payload['bounds'] }),
        },
        deps,
      )
      if (existed) await belongs(deps.ledger, parent.tenant, child.run, at.run)
    },
  }
}

/** A child tells its result to the one run that started it; another that shared its id would wait for ever. */
async function belongs(ledger: Ledger, tenant: string, child: string, parent: string): Promise<void> {
  const [first] = await ledger.read({ tenant, stream: runStream(child) }, { limit: 1 })
  const its = (first?.payload as JsonObject | undefined)?.['parent']
  if (its !== parent)
    throw new ConvokeError('RUN_EXISTS', `run ${child} already exists and is not a child of ${parent}`, {
      details: { run: child, parent: (its as string | undefined) ?? null },
      next: 'choose another id for the child',
    })
}

/** Nothing is shared beyond the first two records: the child's input may have changed. */
async function forkOf(
  ledger: Ledger,
  tenant: string,
  run: string,
  how: JsonObject,
): Promise<{ readonly fork?: JsonObject; readonly seed?: string }> {
  const [first, second] = await ledger.read({ tenant, stream: runStream(run) }, { limit: 2 })
  if (first === undefined || second === undefined) return {}
  return {
    fork: { run, at: second.seq, hash: second.hash, ...how },
    seed: (first.payload as JsonObject)['seed'] as string,
  }
}

/** `run`: the one that needs it, where it is there already. */
export function unknownWorkflow(name: string, run?: string): ConvokeError {
  if (run === undefined)
    return new ConvokeError('WORKFLOW_UNKNOWN', `no workflow ${name} in this app`, { next: 'add it to the app' })
  return new ConvokeError('WORKFLOW_UNKNOWN', `run ${run} needs workflow ${name}, which this app does not define`, {
    details: { run, workflow: name },
    next: 'add the workflow to the app, or drive the run with the app that has it',
  })
}

/** What a run tells its parent at its end. The parent knows it by the id it began with, whoever goes on in its place. */
export function childDone(
  run: string,
  { started }: History,
  end: Pick<InboxMessage, 'at' | 'actor' | 'payload'> & { readonly labels: Labels },
): InboxMessage {
  const root = started.payload['continues'] === undefined ? run : run.replace(/~\d+$/, '')
  return {
    id: `child.done:${root}`,
    type: 'child.done',
    ...end,
    payload: { id: root, ...(end.payload as JsonObject) },
  }
}
