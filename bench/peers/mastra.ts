/**
 * Mastra's workflows (default engine) on its LibSQL store in a local file. The store asks for `synchronous=NORMAL`;
 * `mastra-full` sets FULL on the store's connection once the store is ready. Results of a chain stay available to later
 * steps, as Mastra has it: one step object a position.
 */
import { join } from 'node:path'
import { type Client, createClient } from '@libsql/client'
import { Mastra } from '@mastra/core'
import { createStep, createWorkflow } from '@mastra/core/workflows'
import { LibSQLStore } from '@mastra/libsql'
import { z } from 'zod'
import { type Body, type Engine, type Order, type StepResult, eachOf, serve } from './lib.ts'

const LANES = 100
const any = z.any()

const peer = {
  async open({ system, dir }: Order, body: Body): Promise<Engine> {
    const client = createClient({ url: `file:${join(dir, 'mastra.db')}`, timeout: 10_000 })
    const storage = system === 'mastra' ? ownClient(dir) : new LibSQLStore({ id: 'bench', client: client as never })
    await storage.init()
    if (system === 'mastra-full') {
      await client.execute('PRAGMA journal_mode=WAL')
      await client.execute('PRAGMA synchronous=FULL')
    }
    const ready = new Map<string, Workflow>()
    /** A workflow of this shape and size, built once: building is not what is measured. */
    const workflow = (shape: keyof typeof shapes, size: number): Workflow => {
      const id = `${shape}-${size}`
      const known = ready.get(id)
      if (known !== undefined) return known
      const built = shapes[shape](id, size, body)
      const mastra = new Mastra({ storage, logger: false, workflows: { [id]: built } } as never)
      const made = mastra.getWorkflow(id as never) as unknown as Workflow
      ready.set(id, made)
      return made
    }
    const start = async (
      shape: keyof typeof shapes,
      run: string,
      size: number,
      expected = 'success',
    ): Promise<void> => {
      const made = await workflow(shape, size).createRun({ runId: run })
      check(await made.start({ inputData: { run, size } }), expected)
    }
    return {
      chain: (run, steps) => start('chain', run, steps),
      async resume(run, steps) {
        const made = await workflow('chain', steps).createRun({ runId: run })
        check(await made.restart(), 'success')
      },
      async converse(run, turns, before) {
        const talk: Talking = { before, messages: 0 }
        talking.set(run, talk)
        await start('talk', run, turns)
        return talk.messages
      },
      fanout: (run, branches) => start('fan', run, branches),
      park: (runs) => eachOf(runs, LANES, (run) => start('wait', run, 0, 'suspended')),
      wake: (runs) =>
        eachOf(runs, LANES, async (run) => {
          const made = await workflow('wait', 0).createRun({ runId: run })
          check(await made.resume({ step: 'ask', resumeData: { go: true } }), 'success')
        }),
      async durability() {
        const own = system === 'mastra' ? (storage as unknown as { client: Client }).client : client
        const level = (await own.execute('PRAGMA synchronous')).rows[0]?.[0]
        return `LibSQL, WAL, synchronous=${String(level)} on the store's connection`
      },
      async close() {
        client.close()
      },
    }
  },
}

interface Input {
  run: string
  size: number
}

interface Run {
  start(args: { inputData: Input }): Promise<Outcome>
  restart(): Promise<Outcome>
  resume(args: { step: string; resumeData: object }): Promise<Outcome>
}

interface Workflow {
  createRun(args: { runId: string }): Promise<Run>
}

interface Outcome {
  status: string
  error?: unknown
}

interface Talking {
  readonly before: (turn: number) => void
  messages: number
}

const talking = new Map<string, Talking>()

function ownClient(dir: string): LibSQLStore {
  return new LibSQLStore({ id: 'bench', url: `file:${join(dir, 'mastra.db')}` })
}

function check({ status, error }: Outcome, expected: string): void {
  if (status !== expected) throw new Error(`Mastra ended with ${status}, not ${expected}`, { cause: error })
}

const shapes = {
  chain(id: string, size: number, body: Body): unknown {
    let flow = createWorkflow({ id, inputSchema: any, outputSchema: any })
    for (let i = 0; i < size; i++) {
      const step = createStep({
        id: `s${i}`,
        inputSchema: any,
        outputSchema: any,
        execute: async ({ getInitData }) => body(getInitData<Input>().run, i),
      })
      flow = flow.then(step) as typeof flow
    }
    return flow.commit()
  },

  /** A loop whose value is the conversation so far: a loop's step has only its last result. */
  talk(id: string, size: number, body: Body): unknown {
    interface Talk extends Input {
      messages?: StepResult[]
    }
    const step = createStep({
      id: 'turn',
      inputSchema: any,
      outputSchema: any,
      execute: async ({ inputData }) => {
        const { run, messages = [] } = inputData as Talk
        const talk = talking.get(run)
        talk?.before(messages.length / 2)
        const history = [...messages, body(run, messages.length), body(run, messages.length + 1)]
        if (talk !== undefined) talk.messages = history.length
        return { run, size, messages: history }
      },
    })
    return createWorkflow({ id, inputSchema: any, outputSchema: any })
      .dountil(step, async ({ inputData }) => (inputData as Talk).messages?.length === 2 * size)
      .commit()
  },

  fan(id: string, size: number, body: Body): unknown {
    const branches = Array.from({ length: size }, (_, i) =>
      createStep({
        id: `b${i}`,
        inputSchema: any,
        outputSchema: any,
        execute: async ({ getInitData }) => body(getInitData<Input>().run, i),
      }),
    )
    const join = createStep({
      id: 'join',
      inputSchema: any,
      outputSchema: any,
      execute: async ({ getInitData }) => body(getInitData<Input>().run, size),
    })
    return createWorkflow({ id, inputSchema: any, outputSchema: any })
      .parallel(branches as never)
      .then(join as never)
      .commit()
  },

  wait(id: string, _size: number, body: Body): unknown {
    const ask = createStep({
      id: 'ask',
      inputSchema: any,
      outputSchema: any,
      resumeSchema: any,
      suspendSchema: any,
      execute: async ({ resumeData, suspend }) => (resumeData === undefined ? await suspend({}) : {}),
    })
    const after = createStep({
      id: 'after',
      inputSchema: any,
      outputSchema: any,
      execute: async ({ getInitData }) => body(getInitData<Input>().run, 0),
    })
    return createWorkflow({ id, inputSchema: any, outputSchema: any }).then(ask).then(after).commit()
  },
}

await serve(peer)
