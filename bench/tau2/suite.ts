/** tau2-bench's retail tasks (Barres et al., 2025), as recorded: a customer's wish, and the calls that fulfil it. */
import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { JsonObject } from 'convoke'

export interface Step {
  readonly tool: string
  readonly args: JsonObject
  readonly observation: string
  readonly error: boolean
}
export interface Task {
  readonly id: string
  readonly scenario: string
  readonly steps: readonly Step[]
}
export interface ToolSchema {
  readonly name: string
  readonly description: string
  readonly parameters: JsonObject
}

/** The retail tasks of the test data: from CONVOKE_TEST_DATA, else beside the repository; undefined where there are none. */
export function retailData(): string | undefined {
  const root = process.env['CONVOKE_TEST_DATA'] ?? resolve(import.meta.dirname, '../../../shared/data')
  const folder = join(root, 'tau2-retail')
  return existsSync(join(folder, 'retail.jsonl')) ? folder : undefined
}

export function readTasks(folder: string): readonly Task[] {
  const lines = readFileSync(join(folder, 'retail.jsonl'), 'utf8').split('\n').filter(Boolean)
  return lines.map((line) => {
    const task = JSON.parse(line) as Task & { readonly steps: readonly Step[] | null }
    return { ...task, steps: task.steps ?? [] }
  })
}

export function readTools(folder: string): readonly ToolSchema[] {
  const all = JSON.parse(readFileSync(join(folder, 'retail-tools.json'), 'utf8')) as readonly { function: ToolSchema }[]
  return all.map((tool) => tool.function)
}

export function isRead(tool: string): boolean {
  return /^(calculate|find_|get_|list_)/.test(tool)
}

/** What a task writes when it goes well, in order. */
export function goldWrites(task: Task): readonly string[] {
  return task.steps.filter((s) => !isRead(s.tool) && !s.error).map((s) => JSON.stringify([s.tool, s.args]))
}
