import { expect, test } from 'vitest'
import { canonicalize } from './canonical.ts'
import { ConvokeError, errorJson, fromErrorData, isConvokeError, toErrorData } from './errors.ts'

test('an error crosses as data and comes back the same, without its stack', () => {
  const error = new ConvokeError('RUN_UNKNOWN', 'no run r_9', {
    details: { run: 'r_9' },
    next: 'convoke runs',
    cause: 1,
  })
  const data = toErrorData(error)
  expect(data).toEqual({ code: 'RUN_UNKNOWN', message: 'no run r_9', details: { run: 'r_9' }, next: 'convoke runs' })
  expect(fromErrorData(data).toJSON()).toEqual(data)
  expect(canonicalize(errorJson(data))).toBe(canonicalize(data))
  expect([error.handling, error.cause]).toEqual(['usage', 1])
})

test('whatever was thrown becomes recordable', () => {
  const coded = Object.assign(new Error('gone'), { code: 'ENOENT' })
  expect(toErrorData(coded)).toEqual({ code: 'ENOENT', message: 'gone' })
  expect(toErrorData(Object.assign(new Error('x'), { code: 'no code' })).code).toBe('STEP_FAILED')
  expect(toErrorData(new Error('\ud800'), 'TOOL_FAILED')).toEqual({ code: 'TOOL_FAILED', message: '\ufffd' })
  expect(toErrorData(undefined).message).toBe('undefined')
  expect(toErrorData('x'.repeat(50_000)).message).toHaveLength(20_000)
})

test('codes of user code are kept and handled as failed', () => {
  const error = new ConvokeError('INVOICE_ODD', 'odd')
  expect(error.handling).toBe('failed')
  expect([isConvokeError(error), isConvokeError(error, 'RUN_FAILED'), isConvokeError(new Error('x'))]).toEqual([
    true,
    false,
    false,
  ])
})
