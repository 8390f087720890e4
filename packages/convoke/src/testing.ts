import { extensionsOf } from './app/extensions.ts'
import { checkRooms, type RoomOptions } from './app/rooms.ts'
import type { DryReplay } from './replay/dry-replay.ts'
import type { AnyWorkflow } from './replay/workflow.ts'
import { systemClock } from './system/clock.ts'
import { systemIds } from './system/ids.ts'
import { replayRecorded } from './testing/history.ts'

export { createChain, type Chain, type ChainDraft } from './testing/chain.ts'
export { dispatcherSuite, type DispatcherFixture } from './testing/dispatcher-suite.ts'
export { differ, type DifferOptions, type DifferReport } from './testing/differ.ts'
export { crashEverywhere, type CrashOptions, type CrashReport } from './testing/crash.ts'
export { fakeClock } from './testing/clock.ts'
export { faults } from './testing/faults.ts'
export { openHistory, recordHistory } from './testing/history.ts'
export { fakeIds } from './testing/ids.ts'
export { ledgerSuite, type Framework, type LedgerFixture } from './testing/ledger-suite.ts'
export { probeFromEnv } from './testing/probe.ts'
export { lastText, rule, scriptedModel, toolCall, type ScriptedRule } from './testing/scripted-model.ts'

/**
 * Holds today's code against a history that `recordHistory` wrote: nothing starts, and a run that has ended must come to
 * the same end.
 * @throws JSON_INVALID, RECORD_UNSUPPORTED, WORKFLOW_UNKNOWN
 */
export async function replayHistory(
  history: string,
  options: RoomOptions & { readonly workflows: Readonly<Record<string, AnyWorkflow>> },
): Promise<DryReplay> {
  const workflows = Object.values(options.workflows)
  return replayRecorded(history, {
    workflows,
    extend: extensionsOf(checkRooms(options)),
    clock: systemClock,
    ids: systemIds(),
  })
}

export type { DryReplay } from './replay/dry-replay.ts'
