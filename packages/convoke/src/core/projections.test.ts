import { describe, expect, test } from 'vitest'
import type { Json } from './json.ts'
import { noLabels } from './labels.ts'
import { inboxStream, isEnded, project, runIdOf, runStream, type Change } from './projections.ts'
import { emptyHead, seal, type Actor, type LedgerRecord } from './record.ts'

function record(
  stream: string,
  type: string,
  payload: Json,
  more: { path?: string; actor?: Actor } = {},
): LedgerRecord {
  return seal(
    { type, payload, actor: { kind: 'orchestrator', id: 'w' }, labels: noLabels, ...more },
    { tenant: 'acme', stream, epoch: 1, head: emptyHead, at: 1000, salt: '0'.repeat(32) },
  ).record
}
const run = (type: string, payload: Json): readonly Change[] => project(record('run/r_1', type, payload))

describe('runs', () => {
  test('a started run is queued and due', () => {
    expect(run('run.started', { workflow: 'reconcile', version: '1' })).toEqual([
      {
        kind: 'run',
        run: 'r_1',
        set: {
          tenant: 'acme',
          run: 'r_1',
          workflow: 'reconcile',
          version: '1',
          status: 'queued',
          due: 1000,
          priority: 0,
          tags: [],
          startedAt: 1000,
          updatedAt: 1000,
          root: 'r_1',
        },
      },
    ])
    const [child] = run('run.started', {
      workflow: 'w',
      version: '1',
      notBefore: 5000,
      priority: 3,
      tags: ['x'],
      parent: 'r_0',
      root: 'r_00',
      forkOf: 'r_9',
    })
    expect(child).toMatchObject({
      set: { due: 5000, priority: 3, tags: ['x'], parent: 'r_0', root: 'r_00', forkOf: 'r_9' },
    })
  })

  test('parking names what is awaited and when to look again, or clears it', () => {
    expect(run('run.parked', { kind: 'timer', next: 9000 })).toEqual([
      { kind: 'run', run: 'r_1', set: { status: 'parked', parkedOn: 'timer', updatedAt: 1000, due: 9000 } },
    ])
    expect(run('run.parked', { kind: 'person' })).toEqual([
      { kind: 'run', run: 'r_1', set: { status: 'parked', parkedOn: 'person', updatedAt: 1000, dueClear: true } },
    ])
    expect(run('run.resumed', {})).toEqual([
      { kind: 'run', run: 'r_1', set: { status: 'running', parkedClear: true, updatedAt: 1000 } },
    ])
  })

  test('ends and stops leave nothing due', () => {
    const ends = {
      'run.completed': 'done',
      'run.failed': 'failed',
      'run.cancelled': 'cancelled',
      'run.continued': 'continued',
    }
    for (const [type, status] of Object.entries(ends)) {
      const payload = type === 'run.failed' ? { error: { code: 'STEP_FAILED', message: 'm' } } : {}
      expect(run(type, payload)).toEqual([
        {
          kind: 'run',
          run: 'r_1',
          set: {
            status,
            updatedAt: 1000,
            dueClear: true,
            parkedClear: true,
            ...(type === 'run.failed' ? { error: 'STEP_FAILED' } : {}),
          },
        },
      ])
      expect(isEnded(status as 'done')).toBe(true)
    }
    expect(run('run.stopped', { code: 'REPLAY_DIVERGED' })).toMatchObject([
      { set: { status: 'stopped', error: 'REPLAY_DIVERGED', dueClear: true, parkedClear: true } },
    ])
    for (const status of ['queued', 'running', 'parked', 'stopped'] as const) expect(isEnded(status)).toBe(false)
  })

  test('a step costs no projection, and other streams have none', () => {
    expect(run('step.completed', { value: 1 })).toEqual([])
    expect(project(record('topic/t', 'run.started', {}))).toEqual([])
  })
})

describe('approvals', () => {
  const request = { id: 'ap_1', kind: 'call', title: 'Pay', action: { amount: '10' }, actionHash: 'h' }

  test('are requested, escalated, expired and withdrawn by the run', () => {
    const asked = record(
      'run/r_1',
      'approval.requested',
      { ...request, group: 'cfo', expires: 7, category: 'payment' },
      { path: 'pay' },
    )
    expect(project(asked)).toEqual([
      {
        kind: 'approval',
        id: 'ap_1',
        set: {
          tenant: 'acme',
          id: 'ap_1',
          run: 'r_1',
          path: 'pay',
          kind: 'call',
          title: 'Pay',
          action: { amount: '10' },
          actionHash: 'h',
          status: 'pending',
          requestedAt: 1000,
          ref: 'run/r_1@1',
          category: 'payment',
          group: 'cfo',
          expires: 7,
        },
      },
    ])
    expect(run('approval.escalated', { id: 'ap_1', group: 'board' })).toEqual([
      { kind: 'approval', id: 'ap_1', set: { group: 'board' } },
    ])
    expect(run('approval.expired', { id: 'ap_1' })).toMatchObject([{ set: { status: 'expired', decidedAt: 1000 } }])
    expect(run('approval.withdrawn', { id: 'ap_1' })).toMatchObject([{ set: { status: 'withdrawn' } }])
  })

  test('are decided by what comes to the inbox, which also wakes the run', () => {
    const decided = record(
      'inbox/r_1',
      'approval.decided',
      { id: 'ap_1', decision: 'corrected' },
      { actor: { kind: 'person', id: 'ann' } },
    )
    expect(project(decided)).toEqual([
      { kind: 'wake', run: 'r_1', at: 1000 },
      { kind: 'approval', id: 'ap_1', set: { status: 'corrected', decidedBy: 'ann', decidedAt: 1000 } },
    ])
    expect(project(record('inbox/r_1', 'signal', { name: 'go' }))).toEqual([{ kind: 'wake', run: 'r_1', at: 1000 }])
  })
})

test('stream names and run ids belong together', () => {
  expect(runIdOf(runStream('a/b'))).toBe('a/b')
  expect(runIdOf(inboxStream('a/b'))).toBe('a/b')
})
