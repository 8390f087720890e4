import { scriptedModel, type ScriptedRule } from 'convoke/testing'
import type { Model } from 'convoke'
import { judging } from './judging.ts'
import { obeying } from './obeying.ts'
import { planning } from './planner.ts'
import { drafting, explaining } from './writing.ts'

export const squadRules: readonly ScriptedRule[] = [obeying, planning, explaining, drafting, judging]

/** The keyless model: rules that read the prompt. Not AI, and it says so. It obeys whatever it reads, whoever wrote it. */
export function scriptedSquadModel(): Model {
  return scriptedModel({ id: 'invoices', rules: squadRules })
}
