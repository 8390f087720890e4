import { expect, test } from 'vitest'
import type { ChangeListener, Ledger } from '../ports/ledger.ts'
import { createMemoryStore } from '../testing/memory-ledger.ts'
import { newsOf } from './news.ts'

const at = (stream: string, tenant = 't') => ({ tenant, stream })

test('each run hears of its own stream and inbox and of anything, through one listener', () => {
  const listeners = new Set<ChangeListener>()
  let subscribed = 0
  const ledger: Ledger = {
    ...createMemoryStore().open(),
    onChange(listener) {
      subscribed++
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
  }
  const tell: ChangeListener = (changed) => {
    for (const listener of listeners) listener(changed)
  }
  const heard: string[] = []
  const news = newsOf(ledger)
  expect(newsOf(ledger)).toBe(news)
  const offs = ['a', 'b', 'b'].map((run, i) => news.watch(at(`run/${run}`), () => heard.push(`${run}${i}`)))
  expect(subscribed).toBe(1)
  tell([at('inbox/a')])
  tell([at('run/b'), at('inbox/c'), at('run/a', 'other')])
  expect(heard.splice(0)).toEqual(['a0', 'b1', 'b2'])
  tell(undefined)
  expect(heard.splice(0)).toEqual(['a0', 'b1', 'b2'])
  offs[1]?.()
  offs[1]?.()
  tell([at('inbox/b')])
  expect(heard.splice(0)).toEqual(['b2'])
  for (const off of offs) off()
  expect(listeners.size).toBe(0)
  const off = news.watch(at('run/a'), () => heard.push('again'))
  tell([at('run/a')])
  expect([heard, subscribed, listeners.size]).toEqual([['again'], 2, 1])
  off()
})
