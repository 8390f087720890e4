import type { Task } from '../replay/types.ts'
import type { Call } from './deps.ts'
import type { Passed } from './gate.ts'
import type { CallState } from './state.ts'

/** Notes who is told of a call that goes ahead, once; those who watch see it at once. */
export function tell(call: Call, task: Task, passed: Passed): void {
  if (passed.tell.length === 0 || task.history.some((e) => e.record.type === 'policy.told')) return
  const told = { tool: call.tool.name, actionHash: passed.hash(), to: passed.tell.map((t) => ({ ...t })) }
  task.append('policy.told', told)
  task.scope.engine.live(task.scope, 'policy.told', { path: task.path, ...told })
}

/** Notes what people decided about calls of categories that can earn trust. A second time, after a crash, adds nothing. */
export async function noteTrust(call: Call, task: Task, s: CallState): Promise<void> {
  const { policy, trust } = call.deps
  if (trust === undefined || policy?.categories === undefined) return
  const last = task.history.findLast((e) => e.record.type === 'approval.decided')
  if (last === undefined) return
  const id = last.payload['id'] as string
  // One yes of several is no judgement yet.
  if (s.open?.id === id) return
  const asked = task.history.find((e) => e.record.type === 'approval.requested' && e.payload['id'] === id)
  const category = asked?.payload['category'] as string | undefined
  const earned = category === undefined ? undefined : policy.categories[category]?.trust
  if (category === undefined || earned === undefined || asked?.payload['kind'] !== 'call') return
  const unedited = last.payload['decision'] === 'approved' && s.corrected === undefined
  await trust.judged({ category, id, unedited, by: last.record.actor, run: task.run, path: task.path }, earned.after)
}
