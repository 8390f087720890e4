/** A shop's service desk over recorded answers; its writes end in a file that honours idempotency keys. */
import { appendFileSync, closeSync, existsSync, fsyncSync, openSync, readFileSync } from 'node:fs'
import {
  agent,
  ConvokeError,
  convoke,
  decideApproval,
  policy,
  role,
  tool,
  workflow,
  type AnyTool,
  type App,
  type JsonObject,
} from 'convoke'
import { probeFromEnv, rule, scriptedModel, toolCall } from 'convoke/testing'
import { z } from 'zod'
import { isRead, type Step, type Task, type ToolSchema } from './suite.ts'

export interface Desk {
  readonly tasks: readonly Task[]
  readonly tools: readonly ToolSchema[]
  readonly store: string
  /** The shop's own book: a line a write. */
  readonly book: string
  /** Whether a person has to approve each write. */
  readonly approve: boolean
}

interface Line {
  readonly key: string
  readonly run: string
  readonly write: string
}

export function readBook(book: string): readonly Line[] {
  if (!existsSync(book)) return []
  return readFileSync(book, 'utf8')
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Line)
}

const Wish = z.object({ task: z.string() })
const Reply = z.object({ errors: z.number() })
const clerk = role({ name: 'clerk', input: Wish, output: Reply, tools: ['*'] })
export const serve = workflow({ name: 'serve', input: Wish, output: Reply }, async (run, wish) => {
  const outcome = await run.ask(clerk, wish)
  return outcome.value
})

export function deskApp(desk: Desk): App {
  const tasks = new Map(desk.tasks.map((task) => [task.id, task]))
  const probe = probeFromEnv()
  return convoke({
    store: desk.store,
    durability: 'process-crash-only',
    workflows: { serve },
    agents: [agent({ name: 'desk', role: clerk, instructions: 'Do what the customer asks.', maxTurns: 60 })],
    tools: desk.tools.map((schema) => toolOf(desk, schema, tasks)),
    model: followingModel(tasks),
    ...(desk.approve
      ? {
          policy: policy({
            version: '1',
            rules: [{ id: 'writes', effect: 'keyed', hold: { category: 'order-change', group: 'desk' } }],
          }),
        }
      : {}),
    ...(probe === undefined ? {} : { probe }),
    onTrouble: (run, error) => process.emitWarning(`${run.stream}: ${error.message}`),
  })
}

/** Drives until nothing waits for a person any more; whoever is asked says yes. Returns how often that was. */
export async function driveAll(app: App): Promise<number> {
  const ledger = await app.ledger()
  for (;;) {
    await app.idle()
    const rows = await ledger.approvals({ tenant: app.tenant, status: 'pending', limit: 1000 })
    for (const { id } of rows)
      await decideApproval(ledger, {
        tenant: app.tenant,
        id,
        decision: 'approved',
        by: { kind: 'person', id: 'customer' },
        at: Date.now(),
      })
    if (rows.length === 0) return (await ledger.approvals({ tenant: app.tenant, limit: 10_000 })).length
  }
}

function toolOf(desk: Desk, schema: ToolSchema, tasks: ReadonlyMap<string, Task>): AnyTool {
  return tool({
    name: schema.name,
    description: schema.description,
    inputSchema: z.fromJSONSchema(schema.parameters as Parameters<typeof z.fromJSONSchema>[0]),
    effect: isRead(schema.name) ? 'read' : 'keyed',
    execute: (input: unknown, context) => {
      const args = input as JsonObject
      const step = tasks.get(taskOf(context.run))?.steps.find((s) => s.tool === schema.name && same(s.args, args))
      if (step === undefined) throw new ConvokeError('TOOL_FAILED', 'nobody recorded an answer to this')
      // As the shop says it: nothing happened.
      if (step.error) throw new ConvokeError('TOOL_FAILED', step.observation)
      if (!isRead(schema.name))
        enter(desk.book, {
          key: context.idempotencyKey,
          run: context.run,
          write: JSON.stringify([schema.name, step.args]),
        })
      return step.observation
    },
  }) as AnyTool
}

export const runOf = (task: string): string => `task.${task}`
const taskOf = (run: string): string => run.slice('task.'.length)

/** What is in the book stays; a key that is there already changes nothing. */
function enter(book: string, line: Line): void {
  if (readBook(book).some((before) => before.key === line.key)) return
  appendFileSync(book, `${JSON.stringify(line)}\n`)
  const file = openSync(book, 'r')
  fsyncSync(file)
  closeSync(file)
}

function same(a: JsonObject, b: JsonObject): boolean {
  const text = (o: JsonObject): string => JSON.stringify(Object.entries(o).toSorted(([x], [y]) => (x < y ? -1 : 1)))
  return text(a) === text(b)
}

/** Makes the recorded calls one after the other, whatever comes back. */
function followingModel(tasks: ReadonlyMap<string, Task>): ReturnType<typeof scriptedModel> {
  return scriptedModel({
    id: 'following',
    rules: [
      rule({
        name: 'follow',
        when: () => true,
        reply: (request) => {
          const asked = /"task":"(\d+)"/.exec(
            request.messages
              .flatMap((m) => m.parts.flatMap((p) => (p.type === 'text' && m.role === 'user' ? [p.text] : [])))
              .join(' '),
          )
          const parts = request.messages.flatMap((m) => [...m.parts])
          const made = parts.filter((p) => p.type === 'tool-call').length
          const errors = parts.filter((p) => p.type === 'tool-result' && p.isError === true).length
          const step: Step | undefined = tasks.get(asked?.[1] ?? '')?.steps[made]
          return step === undefined ? JSON.stringify({ value: { errors } }) : [toolCall(step.tool, step.args)]
        },
      }),
    ],
  })
}
