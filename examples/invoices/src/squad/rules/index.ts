import { scriptedModel } from 'convoke/testing'
import type { Model } from 'convoke'
import { judging } from './judging.ts'
import { planning } from './planner.ts'
import { drafting, explaining } from './writing.ts'

/** The keyless model: rules that read the prompt. Not AI, and it says so. */
export function scriptedSquadModel(): Model {
  return scriptedModel({ id: 'invoices', rules: [planning, explaining, drafting, judging] })
}
