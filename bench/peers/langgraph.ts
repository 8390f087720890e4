/**
 * LangGraph.js with its SQLite saver, always with `durability: 'sync'` (a checkpoint is written before the next step
 * begins). better-sqlite3's build gives a WAL database `synchronous=NORMAL`, which does not sync at a commit:
 *
 * - `langgraph`: the graph API, the saver as it comes
 * - `langgraph-full`: the same with `PRAGMA synchronous=FULL`
 * - `langgraph-tasks-full`: the functional API (`entrypoint`, `task`) with FULL
 * - `langgraph-last-full`: the graph API with FULL, with a state that keeps only the last result (chain only)
 */
import { join } from 'node:path'
import {
  Annotation,
  Command,
  END,
  Send,
  START,
  StateGraph,
  entrypoint,
  getPreviousState,
  interrupt,
  task,
} from '@langchain/langgraph'
import { SqliteSaver } from '@langchain/langgraph-checkpoint-sqlite'
import { type Body, type Engine, type Order, type StepResult, eachOf, serve } from './lib.ts'

const LANES = 100

const list = Annotation<StepResult[]>({ reducer: (all, more) => all.concat(more), default: () => [] })
const last = Annotation<StepResult[]>({ reducer: (_all, more) => more, default: () => [] })
const number = Annotation<number>({ reducer: (_before, now) => now, default: () => 0 })

interface Config {
  configurable?: { thread_id?: string }
}

const peer = {
  async open({ system, dir, size }: Order, body: Body): Promise<Engine> {
    const saver = SqliteSaver.fromConnString(join(dir, 'langgraph.db'))
    saver.db.pragma('journal_mode=WAL')
    if (system.endsWith('-full')) saver.db.pragma('synchronous=FULL')
    const config = (run: string): object => ({
      configurable: { thread_id: run },
      durability: 'sync',
      recursionLimit: 2 * size + 100,
      maxConcurrency: size + 100,
    })
    const work = system.startsWith('langgraph-tasks') ? tasks(saver, body) : graphs(saver, body, system)
    return {
      chain: (run, steps) => work.chain.invoke({ run, size: steps }, config(run)),
      resume: (run) => work.chain.invoke(null, config(run)),
      async converse(run, turns, before) {
        let messages = 0
        for (let turn = 0; turn < turns; turn++) {
          before(turn)
          const state = await work.talk.invoke({ messages: [body(run, 2 * turn)] }, config(run))
          messages = (state as { messages: { length: number } }).messages.length
        }
        return messages
      },
      fanout: (run, branches) => work.fan.invoke({ run, size: branches }, config(run)),
      park: (runs) => eachOf(runs, LANES, (run) => work.wait.invoke({ run, size: 0 }, config(run))),
      wake: (runs) => eachOf(runs, LANES, (run) => work.wait.invoke(new Command({ resume: 'go' }), config(run))),
      async durability() {
        const level = saver.db.pragma('synchronous', { simple: true })
        return `better-sqlite3, WAL, synchronous=${String(level)}, durability 'sync'`
      },
      async close() {
        saver.db.close()
      },
    }
  },
}

interface Invocable {
  invoke(input: unknown, config: object): Promise<unknown>
}

/** What all four programs of either API are: something to invoke with a thread's configuration. */
interface Programs {
  readonly chain: Invocable
  readonly talk: Invocable
  readonly fan: Invocable
  readonly wait: Invocable
}

function graphs(checkpointer: SqliteSaver, body: Body, system: string): Programs {
  const Chain = Annotation.Root({
    size: number,
    i: number,
    results: system === 'langgraph-last-full' ? last : list,
  })
  const chain = new StateGraph(Chain)
    .addNode('step', (state, config: Config) => ({ i: state.i + 1, results: [body(thread(config), state.i)] }))
    .addEdge(START, 'step')
    .addConditionalEdges('step', (state) => (state.i < state.size ? 'step' : END), ['step', END])
    .compile({ checkpointer })

  const Talk = Annotation.Root({ messages: list })
  const talk = new StateGraph(Talk)
    .addNode('answer', (state, config: Config) => ({ messages: [body(thread(config), state.messages.length)] }))
    .addEdge(START, 'answer')
    .addEdge('answer', END)
    .compile({ checkpointer })

  const Fan = Annotation.Root({ size: number, results: list })
  const fan = new StateGraph(Fan)
    .addNode('branch', (state: { i: number }, config: Config) => ({ results: [body(thread(config), state.i)] }))
    .addNode('join', (state, config: Config) => ({ results: [body(thread(config), state.results.length)] }))
    .addConditionalEdges(START, (state) => Array.from({ length: state.size }, (_, i) => new Send('branch', { i })), [
      'branch',
    ])
    .addEdge('branch', 'join')
    .addEdge('join', END)
    .compile({ checkpointer })

  const wait = new StateGraph(Fan)
    .addNode('ask', () => {
      interrupt('waiting')
      return {}
    })
    .addNode('after', (_state, config: Config) => ({ results: [body(thread(config), 0)] }))
    .addEdge(START, 'ask')
    .addEdge('ask', 'after')
    .addEdge('after', END)
    .compile({ checkpointer })
  return { chain, talk, fan, wait } as unknown as Programs
}

function tasks(checkpointer: SqliteSaver, body: Body): Programs {
  const step = task('step', async (run: string, i: number) => body(run, i))
  interface Input {
    run: string
    size: number
  }
  const chain = entrypoint({ name: 'chain', checkpointer }, async ({ run, size }: Input) => {
    for (let i = 0; i < size; i++) await step(run, i)
    return size
  })
  const talk = entrypoint(
    { name: 'talk', checkpointer },
    async ({ messages }: { messages: StepResult[] }, config: Config) => {
      const history = [...(getPreviousState<StepResult[]>() ?? []), ...messages]
      const all = [...history, await step(thread(config), history.length)]
      // The value is stored too: only the length, not the history a second time.
      return entrypoint.final({ value: { messages: { length: all.length } }, save: all })
    },
  )
  const fan = entrypoint({ name: 'fan', checkpointer }, async ({ run, size }: Input) => {
    const results = await Promise.all(Array.from({ length: size }, (_, i) => step(run, i)))
    await step(run, results.length)
    return size
  })
  const wait = entrypoint({ name: 'wait', checkpointer }, async ({ run }: Input) => {
    interrupt('waiting')
    await step(run, 0)
    return 0
  })
  return { chain, talk, fan, wait } as unknown as Programs
}

function thread(config: Config): string {
  return config.configurable?.thread_id ?? ''
}

await serve(peer)
