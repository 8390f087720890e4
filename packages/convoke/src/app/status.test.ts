import { expect, test } from 'vitest'
import { setTimeout as sleep } from 'node:timers/promises'
import { statusBoard } from './status.ts'

const ref = (run: string) => ({ tenant: 't', stream: `run/${run}` })

test('a named run calls its own listeners only', () => {
  const board = statusBoard()
  const heard: string[] = []
  board.on(ref('a'), () => heard.push('a'))
  const off = board.on(ref('b'), () => heard.push('b'))
  board.changed(ref('b'))
  expect(heard).toEqual(['b'])
  off()
  off()
  board.changed(ref('b'))
  expect(heard).toEqual(['b'])
})

test('a few listeners hear at once of a change that may concern any run', () => {
  const board = statusBoard()
  let heard = 0
  for (let i = 0; i < 16; i++) board.on(ref(`r${i}`), () => heard++)
  board.anyChanged()
  board.anyChanged()
  expect(heard).toBe(32)
})

test('many listeners hear of many such changes once, and later ones are not missed', async () => {
  const board = statusBoard()
  let heard = 0
  for (let i = 0; i < 100; i++) board.on(ref(`r${i}`), () => heard++)
  for (let i = 0; i < 50; i++) board.anyChanged()
  expect(heard).toBe(0)
  await sleep(120)
  expect(heard).toBe(100)
  board.anyChanged()
  board.close()
  expect(heard).toBe(200)
  await sleep(120)
  expect(heard).toBe(200)
})

test('who listens again from within a call is not called twice by it', () => {
  const board = statusBoard()
  let heard = 0
  const listen = (): void => {
    heard++
    board.on(ref('a'), listen)
  }
  board.on(ref('a'), listen)
  board.changed(ref('a'))
  expect(heard).toBe(1)
})

test('who waits for a run that is driven here looks when its drive has ended, not before', () => {
  const board = statusBoard()
  let heard = 0
  board.on(ref('a'), () => heard++)
  board.driven(ref('a'))
  board.anyChanged()
  expect(heard).toBe(0)
  board.changed(ref('a'))
  expect(heard).toBe(1)
  board.anyChanged()
  expect(heard).toBe(2)
})

test('who waits for a run that ended here is given its last record', () => {
  const board = statusBoard()
  const heard: unknown[] = []
  board.on(ref('a'), (last) => heard.push(last))
  const last = { record: { type: 'run.completed' }, payload: { value: 1 } } as never
  board.driven(ref('a'))
  board.ended(ref('a'), last)
  board.changed(ref('a'))
  expect(heard).toEqual([last, undefined])
})

test('a change that says which runs it may concern calls those who wait for them, by run or by inbox, and nobody else', () => {
  const board = statusBoard()
  const heard: string[] = []
  for (const run of ['a', 'b', 'c', 'd']) board.on(ref(run), () => heard.push(run))
  board.driven(ref('c'))
  board.anyChanged([ref('a'), { tenant: 't', stream: 'inbox/b' }, ref('c'), { tenant: 'other', stream: 'run/d' }])
  expect(heard).toEqual(['a', 'b'])
  board.close()
})

test('who waits for a run that is driven here is told for certain, until anybody says something of it', () => {
  const board = statusBoard()
  for (const run of ['a', 'b', 'c']) board.driven(ref(run))
  expect([board.isTold(ref('a')), board.isTold(ref('x'))]).toEqual([true, false])
  // Another may have taken it over, and ended it.
  board.anyChanged([ref('a')])
  expect([board.isTold(ref('a')), board.isTold(ref('b'))]).toEqual([false, true])
  board.changed(ref('b'))
  expect([board.isTold(ref('b')), board.isTold(ref('c'))]).toEqual([false, true])
  board.anyChanged()
  expect(board.isTold(ref('c'))).toBe(false)
})

test('a run that was just begun here needs no look before its next change', () => {
  const board = statusBoard()
  board.begun(ref('a'))
  board.begun(ref('b'))
  expect([board.isTold(ref('a')), board.isTold(ref('b'))]).toEqual([true, true])
  board.anyChanged([ref('a')])
  expect([board.isTold(ref('a')), board.isTold(ref('b'))]).toEqual([false, true])
  board.anyChanged()
  expect(board.isTold(ref('b'))).toBe(false)
  board.close()
})

test('who waits for a run that was begun here looks once if it is not driven soon: the news of its end may have come first', async () => {
  const board = statusBoard()
  const heard: string[] = []
  for (const run of ['a', 'b']) {
    board.begun(ref(run))
    board.on(ref(run), () => heard.push(run))
  }
  board.driven(ref('b'))
  await sleep(1_200)
  expect(heard).toEqual(['a'])
  expect([board.isTold(ref('a')), board.isTold(ref('b'))]).toEqual([false, true])
  board.close()
})
