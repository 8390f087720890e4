import { rule } from 'convoke/testing'
import type { CaseFile, Finding } from '../types.ts'
import { fills, inputOf, says } from './prompt.ts'

interface Seen {
  readonly goal: { readonly case: CaseFile }
  readonly failed: readonly { readonly id: string; readonly role: string }[]
}
interface Task {
  readonly id: string
  readonly role: string
  readonly input: unknown
  readonly needs: readonly string[]
}

/** Plans look-ups by the kind of finding; what failed before is not tried again. */
export const planning = rule<Seen>({
  name: 'plan',
  when: (request) => (fills(request, 'planner') ? inputOf<Seen>(request) : undefined),
  reply: (_request, { goal, failed }) => {
    const failedRoles = new Set(failed.map((task) => task.role))
    const lookups = new Map<string, Task>()
    for (const finding of goal.case.findings)
      for (const task of lookupsFor(finding, goal.case, failedRoles)) lookups.set(task.id, task)
    const needs = [...lookups.keys()]
    const last = failed.length === 0 ? 'explanation' : `explanation-${failed.length + 1}`
    return says({
      tasks: [
        ...lookups.values(),
        {
          id: last,
          role: 'explanation',
          needs,
          input: { case: goal.case, research: needs.map((id) => ({ $task: id })) },
        },
      ],
      reason:
        failed.length === 0
          ? 'look-ups side by side, then the explanation'
          : `another way than ${failed.map((task) => task.id).join(', ')}`,
    })
  },
})

function lookupsFor(finding: Finding, about: CaseFile, failed: ReadonlySet<string>): Task[] {
  const po = about.po ?? ''
  const task = (id: string, role: string, input: unknown): Task => ({ id, role, input, needs: [] })
  switch (finding.kind) {
    case 'quantity':
      return [
        task('deliveries', 'deliveries', { po }),
        ...(finding.article === undefined
          ? []
          : [task('price-history', 'price-history', { article: finding.article })]),
      ]
    case 'price':
      return [
        ...(finding.article === undefined
          ? []
          : [task('price-history', 'price-history', { article: finding.article })]),
        task('order', 'orders', { po }),
      ]
    case 'po-unknown':
      return failed.has('orders')
        ? [task('order-search', 'order-search', { seller: about.seller ?? '' })]
        : [task('order', 'orders', { po })]
    case 'po-missing':
      return about.seller === undefined ? [] : [task('order-search', 'order-search', { seller: about.seller })]
    case 'iban':
    case 'vendor-unknown':
      return about.seller === undefined ? [] : [task('master-data', 'master-data', { seller: about.seller })]
    case 'duplicate':
    case 'overdraw':
    case 'refused':
      return po === '' ? [] : [task('payments', 'payments', { po })]
    default:
      return []
  }
}
