import { expect, test } from 'vitest'
import { systemClock } from './clock.ts'

test('now is the wall clock, monotonic rises', async () => {
  const before = systemClock.monotonic()
  expect(Math.abs(systemClock.now() - Date.now())).toBeLessThan(1000)
  await systemClock.sleep(5)
  expect(systemClock.monotonic()).toBeGreaterThan(before)
})

test('a sleep ends with the reason of its signal, before and during', async () => {
  const reason = new Error('parked')
  await expect(systemClock.sleep(60_000, AbortSignal.abort(reason))).rejects.toBe(reason)
  const controller = new AbortController()
  const sleeping = systemClock.sleep(60_000, controller.signal)
  controller.abort(reason)
  await expect(sleeping).rejects.toBe(reason)
})

test('a sleep longer than a timer can take does not end at once', async () => {
  const controller = new AbortController()
  let woke = false
  const sleeping = systemClock.sleep(2 ** 31 + 1000, controller.signal).then(() => (woke = true))
  await systemClock.sleep(20)
  expect(woke).toBe(false)
  controller.abort(new Error('enough'))
  await expect(sleeping).rejects.toThrow('enough')
})
