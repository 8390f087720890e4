import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { counterpart, type Counterpart, type Mode } from '../../test/gateway/counterpart.ts'
import { payTool } from '../../test/gateway/tools.ts'
import { world, type World } from '../../test/gateway/world.ts'
import type { EffectClass } from './tool.ts'

let erp: Counterpart
let w: World

beforeAll(async () => {
  w = await world()
})
afterAll(() => w.close())
beforeEach(async () => {
  erp = await counterpart({ honoursKeys: true })
})
afterEach(() => erp.close())

/** What a class makes of a fault: how the step ends (`ok`, `asks` a person, or an error's code), and how often the effect really happened. */
type Row = readonly [EffectClass, Mode, string, number]
const rows: readonly Row[] = [
  ['read', 'drop', 'ok', 0],
  ['read', 'silent', 'ok', 0],
  ['read', '429', 'ok', 0],
  ['read', '500', 'ok', 0],
  ['read', '400', 'TOOL_FAILED', 0],
  ['read', 'garbage', 'TOOL_OUTPUT_INVALID', 0],
  ['read', 'large', 'TOOL_RESULT_TOO_LARGE', 0],
  ['keyed', 'lost', 'ok', 1],
  ['keyed', 'never', 'ok', 1],
  ['keyed', '429', 'ok', 1],
  ['keyed', '500-after', 'ok', 1],
  ['keyed', '400', 'TOOL_FAILED', 0],
  ['keyed', 'garbage', 'TOOL_OUTPUT_INVALID', 1],
  ['keyed', 'large', 'TOOL_RESULT_TOO_LARGE', 1],
  ['idempotent', 'lost', 'ok', 1],
  ['idempotent', 'never', 'ok', 1],
  ['idempotent', '429', 'ok', 1],
  ['idempotent', '500-after', 'ok', 1],
  ['idempotent', 'garbage', 'TOOL_OUTPUT_INVALID', 1],
  ['idempotent', 'large', 'TOOL_RESULT_TOO_LARGE', 1],
  ['reconcilable', 'lost', 'ok', 1],
  ['reconcilable', 'drop', 'ok', 1],
  ['reconcilable', 'never', 'ok', 1],
  ['reconcilable', '429', 'ok', 1],
  ['reconcilable', '500-after', 'ok', 1],
  ['reconcilable', '500', 'ok', 1],
  ['reconcilable', '400', 'TOOL_FAILED', 0],
  ['reconcilable', 'garbage', 'ok', 1],
  ['reconcilable', 'large', 'ok', 1],
  ['unsafe', 'lost', 'asks', 1],
  ['unsafe', 'drop', 'asks', 0],
  ['unsafe', 'never', 'asks', 1],
  ['unsafe', '429', 'TOOL_UNREACHABLE', 0],
  ['unsafe', '500-after', 'asks', 1],
  ['unsafe', '400', 'TOOL_FAILED', 0],
  ['unsafe', 'garbage', 'asks', 1],
  ['unsafe', 'large', 'asks', 1],
]

describe('R5 each effect class and each fault, counted at the counterpart', () => {
  test.each(rows)('%s, %s: %s, %i effects', async (effect, mode, ends, effects) => {
    const pay = payTool(erp.url, effect)
    erp.plan(mode)
    const r = await w.run((run) => run.call(pay, { amount: '5.00' }))
    expect(erp.effects).toHaveLength(effects)
    if (ends === 'ok') {
      expect(r.error).toBeUndefined()
      expect(r.value).toEqual({ id: effects })
    } else if (ends === 'asks') {
      expect(r.status).toBe('parked')
      const [asked] = await w.pending(r.id)
      expect(asked).toMatchObject({ kind: 'maybe-executed', run: r.id, path: 'erp.pay' })
    } else expect(r.error?.code).toBe(ends)
  })
})
