import { expect, test } from 'vitest'
import type { LiveEvent } from '../ports/runtime.ts'
import { liveBus } from './live.ts'

const event = (run: string, data: string, tenant = 'local'): LiveEvent => ({
  tenant,
  run,
  path: 'intake',
  type: 'model.text',
  data,
})
const textOf = (e: LiveEvent): string => (typeof e.data === 'string' ? e.data : '')
const at = (run: string, tenant = 'local'): { tenant: string; run: string } => ({ tenant, run })

test('listeners hear their own run of their own tenant, in order, until they leave', () => {
  const live = liveBus()
  const heard: string[] = []
  const leave = live.subscribe(at('r1'), (e) => heard.push(textOf(e)))
  live.publish(event('r1', 'a'))
  live.publish(event('r2', 'other run'))
  live.publish(event('r1', 'other tenant', 'acme'))
  live.publish(event('r1', 'b'))
  leave()
  leave()
  live.publish(event('r1', 'late'))
  expect(heard).toEqual(['a', 'b'])
  expect(live.size).toBe(0)
})

test('a listener that throws is taken off; the publisher and the others go on', () => {
  const errors: unknown[] = []
  const live = liveBus({ onError: (error) => errors.push(error) })
  const heard: unknown[] = []
  live.subscribe(at('r1'), () => {
    throw new Error('bad screen')
  })
  live.subscribe(at('r1'), (e) => heard.push(e.data))
  live.publish(event('r1', 'a'))
  live.publish(event('r1', 'b'))
  expect(heard).toEqual(['a', 'b'])
  expect(errors).toHaveLength(1)
  expect(live.size).toBe(1)
})

test('data passes the redaction', () => {
  const live = liveBus({ redact: (data) => (typeof data === 'string' ? data.replaceAll('hunter2', '***') : data) })
  const heard: unknown[] = []
  live.subscribe(at('r1'), (e) => heard.push(e.data))
  live.publish(event('r1', 'the password is hunter2'))
  expect(heard).toEqual(['the password is ***'])
})

test('subscribing without end is refused; coming and going is not', () => {
  const live = liveBus({ maxListeners: 3 })
  for (let i = 0; i < 1000; i++) live.subscribe(at(`r${i}`), () => {})()
  expect(live.size).toBe(0)
  for (let i = 0; i < 3; i++) live.subscribe(at('r1'), () => {})
  expect(() => live.subscribe(at('r1'), () => {})).toThrow(RangeError)
  expect(live.size).toBe(3)
})

test('one function may subscribe twice, and subscribe or leave while it is told', () => {
  const live = liveBus()
  const heard: string[] = []
  const leave = live.subscribe(at('r1'), (e) => {
    heard.push(`first ${textOf(e)}`)
    leave()
    live.subscribe(at('r1'), (later) => heard.push(`second ${textOf(later)}`))
  })
  live.publish(event('r1', 'a'))
  live.publish(event('r1', 'b'))
  expect(heard).toEqual(['first a', 'second b'])
})
