import type { Dispatcher } from '../ports/dispatcher.ts'
import type { Ledger } from '../ports/ledger.ts'
import { codeOf, message, ref, startRun, type Framework } from './ledger-suite/support.ts'
import { createWorker } from './suite-worker.ts'

/** A fresh, empty store with dispatchers over it. Its clock is the machine's. */
export interface DispatcherFixture {
  readonly ledger: Ledger
  readonly dispatcher: Dispatcher
  /** Another dispatcher on the same store with a ledger of its own, as another process would have them. */
  readonly another: () => Promise<{ readonly ledger: Ledger; readonly dispatcher: Dispatcher }>
  /** Stops and closes all, and removes the store. */
  readonly dispose: () => Promise<void>
}

/**
 * The behaviour of the dispatcher port, the same for every adapter. Pass the functions of the test framework, and how
 * to open a fresh store:
 *
 *     dispatcherSuite({ describe, it, expect }, { name: 'local', open })
 */
export function dispatcherSuite(
  { describe, it, expect }: Framework,
  adapter: { readonly name: string; readonly open: () => Promise<DispatcherFixture> },
): void {
  const within =
    (body: (fixture: DispatcherFixture) => Promise<void>): (() => Promise<void>) =>
    async () => {
      const fixture = await adapter.open()
      try {
        await body(fixture)
      } finally {
        await fixture.dispose()
      }
    }

  describe(`dispatcher: ${adapter.name}`, () => {
    describe('start', () => {
      it(
        'drives what was ready before, without any wake',
        within(async ({ ledger, dispatcher }) => {
          for (const id of ['a', 'b', 'c']) await startRun(ledger, id)
          const worker = await createWorker(ledger, 'w1')
          await dispatcher.start(worker.drive)
          await dispatcher.idle()
          expect(worker.done.toSorted()).toEqual(['run/a', 'run/b', 'run/c'])
        }),
      )

      it(
        'leaves alone what has ended and what another live worker holds',
        within(async ({ ledger, dispatcher, another }) => {
          const other = await another()
          const held = await startRun(ledger, 'held')
          const lease = await other.ledger.register('w2')
          await other.ledger.claim(held.ref, 'w2')
          await startRun(ledger, 'free')
          const worker = await createWorker(ledger, 'w1')
          await dispatcher.start(worker.drive)
          await dispatcher.idle()
          expect(worker.tried).toEqual(['run/free'])
          await lease.release()
          await dispatcher.wake(held.ref)
          await dispatcher.idle()
          expect(worker.tried).toEqual(['run/free', 'run/held'])
        }),
      )
    })

    describe('wake', () => {
      it(
        'leads to a run that has become ready',
        within(async ({ ledger, dispatcher }) => {
          const worker = await createWorker(ledger, 'w1')
          await dispatcher.start(worker.drive)
          await dispatcher.idle()
          const { ref: run } = await startRun(ledger, 'a')
          await dispatcher.wake(run)
          await dispatcher.idle()
          expect(worker.done).toEqual(['run/a'])
        }),
      )

      it(
        'may be lost: what another process started is found',
        within(async ({ ledger, dispatcher, another }) => {
          const other = await another()
          const worker = await createWorker(ledger, 'w1')
          await dispatcher.start(worker.drive)
          await dispatcher.idle()
          await startRun(other.ledger, 'a')
          await until(() => worker.done.length > 0)
          expect(worker.done).toEqual(['run/a'])
        }),
      )

      it(
        'may repeat, name what does not exist or has ended, and come early',
        within(async ({ ledger, dispatcher }) => {
          const { ref: run } = await startRun(ledger, 'a')
          await dispatcher.wake(run)
          const worker = await createWorker(ledger, 'w1')
          await dispatcher.start(worker.drive)
          for (let i = 0; i < 20; i++) await dispatcher.wake(run)
          await dispatcher.wake(ref('run/nobody'))
          await dispatcher.wake(run, { at: Date.now() + 10, priority: 5 })
          await dispatcher.idle()
          await dispatcher.wake(run)
          await dispatcher.idle()
          expect(worker.tried).toEqual(['run/a'])
        }),
      )

      it(
        'never leads to a second driver of a run',
        within(async ({ ledger, dispatcher }) => {
          const { ref: run } = await startRun(ledger, 'a')
          const worker = await createWorker(ledger, 'w1')
          let now = 0
          let most = 0
          await dispatcher.start(async (its, signal) => {
            most = Math.max(most, ++now)
            for (let i = 0; i < 5; i++) {
              await dispatcher.wake(run)
              await pause(2)
            }
            const result = await worker.drive(its, signal)
            now--
            return result
          })
          await dispatcher.idle()
          expect(most).toBe(1)
          expect(worker.tried).toEqual(['run/a'])
        }),
      )
    })

    describe('due', () => {
      it(
        'is waited for, and a parked run is driven again when it has come',
        within(async ({ ledger, dispatcher }) => {
          const worker = await createWorker(ledger, 'w1')
          const times: number[] = []
          const due = Date.now() + 120
          worker.next = () => {
            times.push(Date.now())
            return times.length === 1
              ? { type: 'run.parked', payload: { kind: 'timer', next: due } }
              : { type: 'run.completed', payload: {} }
          }
          await startRun(ledger, 'later', { notBefore: Date.now() + 3_600_000 })
          await startRun(ledger, 'a')
          await dispatcher.start(worker.drive)
          await until(() => times.length > 1)
          await dispatcher.idle()
          expect(worker.tried).toEqual(['run/a', 'run/a'])
          expect((times[1] as number) >= due).toBe(true)
        }),
      )

      it(
        'is now for a parked run that a message comes to, from any process',
        within(async ({ ledger, dispatcher, another }) => {
          const other = await another()
          const worker = await createWorker(ledger, 'w1')
          worker.next = () => ({ type: 'run.parked', payload: { kind: 'person' } })
          await startRun(ledger, 'a')
          await dispatcher.start(worker.drive)
          await dispatcher.idle()
          expect(worker.parked).toEqual(['run/a'])
          worker.next = () => ({ type: 'run.completed', payload: {} })
          await other.ledger.post(ref('inbox/a'), message('m1'))
          await until(() => worker.done.length > 0)
          expect(worker.tried).toEqual(['run/a', 'run/a'])
        }),
      )
    })

    describe('lost', () => {
      it(
        'runs are tried again until they are done or parked',
        within(async ({ ledger, dispatcher }) => {
          await startRun(ledger, 'a')
          const worker = await createWorker(ledger, 'w1')
          let losses = 0
          await dispatcher.start((run, signal) =>
            ++losses <= 3 ? Promise.resolve('lost' as const) : worker.drive(run, signal),
          )
          await dispatcher.idle()
          expect(losses).toBe(4)
          expect(worker.done).toEqual(['run/a'])
        }),
      )

      it(
        'runs keep no other run from being driven, nor idle() waiting for ever',
        within(async ({ ledger, dispatcher }) => {
          for (const id of ['a', 'poison', 'z']) await startRun(ledger, id)
          const worker = await createWorker(ledger, 'w1')
          let losses = 0
          await dispatcher.start(async (run, signal) => {
            if (run.stream !== 'run/poison') return worker.drive(run, signal)
            losses++
            return 'lost'
          })
          await dispatcher.idle()
          expect(worker.done.toSorted()).toEqual(['run/a', 'run/z'])
          expect(losses > 1 && losses < 100).toBe(true)
        }),
      )
    })

    describe('stop', () => {
      it(
        'aborts what is driven, waits for it, and begins nothing any more',
        within(async ({ ledger, dispatcher }) => {
          const { ref: run } = await startRun(ledger, 'a')
          let began = 0
          let ended = 0
          await dispatcher.start(async (_, signal) => {
            began++
            await new Promise((resolve) => signal.addEventListener('abort', resolve))
            await pause(20)
            ended++
            return 'lost'
          })
          await until(() => began > 0)
          await dispatcher.stop()
          expect([began, ended]).toEqual([1, 1])
          await startRun(ledger, 'b')
          await dispatcher.wake(run)
          await dispatcher.idle()
          await pause(50)
          expect([began, ended]).toEqual([1, 1])
        }),
      )

      it(
        'lets idle() go, may repeat, and needs no start',
        within(async ({ ledger, dispatcher, another }) => {
          await startRun(ledger, 'a')
          await dispatcher.start(async (_, signal) => {
            await new Promise((resolve) => signal.addEventListener('abort', resolve))
            return 'parked'
          })
          const idle = dispatcher.idle()
          await Promise.all([dispatcher.stop(), dispatcher.stop()])
          await idle
          await dispatcher.stop()
          const other = await another()
          await other.dispatcher.stop()
          await other.dispatcher.idle()
          expect(await codeOf(ledger.head(ref('run/a')))).toBe('none')
        }),
      )
    })

    describe('idle', () => {
      it(
        'waits for what becomes ready while runs are driven',
        within(async ({ ledger, dispatcher }) => {
          await startRun(ledger, 'r0')
          const worker = await createWorker(ledger, 'w1')
          await dispatcher.start(async (run, signal) => {
            const n = Number(run.stream.slice('run/r'.length))
            if (n < 5) await startRun(ledger, `r${n + 1}`)
            return worker.drive(run, signal)
          })
          await dispatcher.idle()
          expect(worker.done.toSorted()).toEqual(['run/r0', 'run/r1', 'run/r2', 'run/r3', 'run/r4', 'run/r5'])
          await Promise.all([dispatcher.idle(), dispatcher.idle()])
        }),
      )

      it(
        'counts what became ready right before it was called',
        within(async ({ ledger, dispatcher }) => {
          const worker = await createWorker(ledger, 'w1')
          await dispatcher.start(worker.drive)
          for (let i = 0; i < 20; i++) {
            const { ref: run } = await startRun(ledger, `r${i}`)
            await dispatcher.wake(run)
            await dispatcher.idle()
            expect(worker.done.length).toBe(i + 1)
          }
        }),
      )
    })

    describe('two dispatchers', () => {
      it(
        'finish every run once between them',
        within(async ({ ledger, dispatcher, another }) => {
          const runs = Array.from({ length: 60 }, (_, i) => `r${i}`)
          for (const id of runs) await startRun(ledger, id)
          const other = await another()
          const workers = [await createWorker(ledger, 'w1'), await createWorker(other.ledger, 'w2')] as const
          await Promise.all([dispatcher.start(workers[0].drive), other.dispatcher.start(workers[1].drive)])
          await Promise.all([dispatcher.idle(), other.dispatcher.idle()])
          const done = workers.flatMap((worker) => worker.done).toSorted()
          expect(done).toEqual(runs.map((id) => `run/${id}`).toSorted())
        }),
      )
    })
  })
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, ms))
}

/** Waits for something that has to happen; far longer than it ever takes. */
async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 1000; i++) {
    if (condition()) return
    await pause(10)
  }
  throw new Error('it did not happen within ten seconds')
}
