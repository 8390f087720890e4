import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { planProblems, referencesIn, resolveInput, type KnownTask, type Plan, type PlannedTask } from './plan.ts'

const roles = new Set(['deliveries', 'prices', 'explain'])
const none = new Map<string, KnownTask>()
const checks = { roles, finished: none, maxTasks: 10 }

function task(id: string, needs: readonly string[] = [], more: Partial<PlannedTask> = {}): PlannedTask {
  return { id, role: 'deliveries', input: {}, needs, ...more }
}

describe('PLAN_INVALID: what keeps a plan from being run', () => {
  test('an acyclic graph for known roles has no problems', () => {
    const plan: Plan = {
      tasks: [
        task('a'),
        task('b', [], { role: 'prices' }),
        task('c', ['a', 'b'], { role: 'explain', input: { of: { $task: 'a', pointer: '/x' } } }),
      ],
    }
    expect(planProblems(plan, checks)).toEqual([])
  })

  test.each<[string, Plan, RegExp]>([
    ['no tasks', { tasks: [] }, /no tasks/],
    ['an unknown role', { tasks: [task('a', [], { role: 'magic' })] }, /no role magic; choose one of deliveries/],
    ['two tasks of one id', { tasks: [task('a'), task('a')] }, /two tasks have the id a/],
    ['a need that is no task', { tasks: [task('a', ['z'])] }, /needs z, which is no task/],
    ['a task that needs itself', { tasks: [task('a', ['a'])] }, /needs itself/],
    [
      'a circle',
      { tasks: [task('x'), task('a', ['c']), task('b', ['a']), task('c', ['b'])] },
      /a, b, c need each other/,
    ],
    ['an id that cannot stand in a path', { tasks: [task('a/b')] }, /cannot be a task's id/],
    [
      'a reference without a need',
      { tasks: [task('b'), task('a', [], { input: [{ $task: 'b' }] })] },
      /without needing/,
    ],
    ['too many tasks', { tasks: Array.from({ length: 11 }, (_, i) => task(`t${i}`)) }, /11 tasks; 10 are allowed/],
  ])('%s', (_, plan, problem) => {
    expect(planProblems(plan, checks).join('\n')).toMatch(problem)
  })

  test('a finished task may be needed and kept, but its id may not mean other work', () => {
    const finished = new Map([['a', { id: 'a', role: 'deliveries', input: {}, value: 1 }]])
    expect(planProblems({ tasks: [task('a'), task('b', ['a'])] }, { ...checks, finished })).toEqual([])
    const changed = { tasks: [task('a', [], { input: { other: true } })] }
    expect(planProblems(changed, { ...checks, finished }).join()).toMatch(/already finished as other work/)
  })

  test('a circle is found exactly where there is one', () => {
    const edges = fc.array(fc.tuple(fc.nat(7), fc.nat(7)), { maxLength: 16 })
    fc.assert(
      fc.property(edges, (pairs) => {
        const needs = (i: number): string[] => [
          ...new Set(pairs.filter(([to]) => to === i).map(([, from]) => `t${from}`)),
        ]
        const plan = {
          tasks: Array.from({ length: 8 }, (_, i) =>
            task(
              `t${i}`,
              needs(i).filter((n) => n !== `t${i}`),
            ),
          ),
        }
        const reach = Array.from({ length: 8 }, (_, i) => new Set(plan.tasks[i]!.needs.map((n) => Number(n.slice(1)))))
        for (let k = 0; k < 8; k++)
          for (let i = 0; i < 8; i++) if (reach[i]!.has(k)) for (const j of reach[k]!) reach[i]!.add(j)
        const circular = reach.some((r, i) => r.has(i))
        expect(planProblems(plan, checks).some((p) => p.includes('circle'))).toBe(circular)
      }),
    )
  })
})

describe('references to results', () => {
  const results = new Map<string, KnownTask>([
    [
      'a',
      { id: 'a', role: 'deliveries', input: {}, value: { items: [{ qty: '3' }], 'x/y': 1, '~': 2, __proto__x: 0 } },
    ],
  ])

  test('are found at any depth and replaced by what they point at (RFC 6901)', () => {
    const input = { deep: [{ $task: 'a', pointer: '/items/0/qty' }], slash: { $task: 'a', pointer: '/x~1y' } }
    expect(referencesIn(input).map((r) => r.task)).toEqual(['a', 'a'])
    expect(resolveInput(input, results)).toEqual({ ok: true, value: { deep: ['3'], slash: 1 } })
    expect(resolveInput({ $task: 'a' }, results)).toEqual({ ok: true, value: results.get('a')!.value })
    expect(resolveInput({ $task: 'a', pointer: '/~0' }, results)).toEqual({ ok: true, value: 2 })
  })

  test('that lead nowhere say so; inherited members are nowhere', () => {
    for (const pointer of ['/none', '/items/1', '/items/00', '/items/-', '/constructor', 'items'])
      expect(resolveInput({ $task: 'a', pointer }, results)).toMatchObject({ ok: false })
    expect(resolveInput({ $task: 'b' }, results)).toMatchObject({ ok: false })
  })

  test('objects that only look like references are data', () => {
    const input = { $task: 'a', pointer: '/items', more: true }
    expect(referencesIn(input)).toEqual([])
    expect(resolveInput(input, results)).toEqual({ ok: true, value: input })
  })
})
