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

test('what cannot be read or recorded does not get through, and nothing throws', () => {
  const bare: unknown = Object.create(null)
  expect(toErrorData(bare).message).toBe('something was thrown that cannot be read')
  const odd = Object.assign(new Error('x'), { message: 5 as unknown as string })
  expect(toErrorData(odd).message).toBe('5')
  const trap = Object.defineProperty(new Error('x'), 'code', {
    get: () => {
      throw new Error('trap')
    },
  })
  expect(toErrorData(trap, 'RUN_FAILED').code).toBe('RUN_FAILED')
  const cycle: Record<string, unknown> = {}
  cycle['self'] = cycle
  for (const details of [cycle, { n: 2 ** 60, big: 1n, text: '\ud800', no: undefined, fn: () => 1 }, { '\ud800': 1 }]) {
    const data = toErrorData(new ConvokeError('STEP_FAILED', '\udc00', { details: details as never, next: '\ud801' }))
    expect(canonicalize(errorJson(data))).toContain('STEP_FAILED')
    expect(data.details).toEqual('n' in details ? { n: String(2 ** 60), big: '1', text: '\ufffd' } : undefined)
  }
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
