/** All tasks in one process, undisturbed; and single ones, killed at their steps. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { crashEverywhere, type CrashReport } from 'convoke/testing'
import { deskApp, driveAll, readBook, runOf, serve } from './app.ts'
import { goldWrites, readTasks, readTools } from './suite.ts'

export interface Replayed {
  readonly tasks: number
  /** Tasks whose writes are the recorded ones, each once, in order. */
  readonly exact: number
  readonly writes: number
  /** Writes that were tried, also those that the shop refused. */
  readonly tried: number
  readonly approvals: number
  /** Errors of tools that the agent saw. */
  readonly errors: number
}

export async function replayAll(data: string, approve: boolean): Promise<Replayed> {
  const dir = await mkdtemp(join(tmpdir(), 'tau2-'))
  const tasks = readTasks(data)
  const book = join(dir, 'book.jsonl')
  const app = deskApp({ tasks, tools: readTools(data), store: join(dir, 'store'), book, approve })
  try {
    const handles = []
    for (const { id } of tasks) handles.push(await app.start(serve, { task: id }, { id: runOf(id) }))
    const approvals = await driveAll(app)
    let errors = 0
    for (const handle of handles) errors += (await handle.result()).errors
    const lines = readBook(book)
    const written = (id: string): string[] => lines.filter((l) => l.run === runOf(id)).map((l) => l.write)
    return {
      tasks: tasks.length,
      exact: tasks.filter((t) => JSON.stringify(written(t.id)) === JSON.stringify(goldWrites(t))).length,
      writes: lines.length,
      tried: tasks.flatMap((t) => t.steps.filter((s) => !/^(calculate|find_|get_|list_)/.test(s.tool))).length,
      approvals,
      errors,
    }
  } finally {
    await app.close()
    await rm(dir, { recursive: true, force: true, maxRetries: 3 })
  }
}

/** Kills one task right before and right after each of its calls, and holds the book against the recorded writes. */
export async function crashTask(data: string, id: string, every = 1, jobs = 2): Promise<CrashReport> {
  return crashEverywhere({
    program: join(import.meta.dirname, 'program.ts'),
    args: (dir) => [dir, data, id],
    counterpart: (dir) => readBook(join(dir, 'book.jsonl')).map((line) => line.write),
    points: (point) => point.startsWith('tool.'),
    execArgv: ['--conditions=convoke-source'],
    every,
    concurrency: jobs,
    timeoutMs: 120_000,
  })
}
