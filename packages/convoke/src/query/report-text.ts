import type { Actor } from '../core/record.ts'
import type { ApprovalStory } from './approvals.ts'
import { brief, count, dollars, exact, line, moment } from './format.ts'
import type { ActionFact } from './report-calls.ts'
import { object } from './records.ts'
import { relabelOf, relabelText } from './relabelled.ts'
import type { RunReport } from './report.ts'
import { plain, type Style } from './style.ts'
import { deciders, soFar } from './why-text.ts'

/** A report as a person reads it: who, what, with which model, under which policy, on which evidence, approved by whom. */
export function renderReport(report: RunReport, style: Style = plain): string {
  const { workflow, startedBy, startedAt, endedAt, error } = report
  const out = [
    `${style.strong(report.run)}  ${workflow.name}@${workflow.version} (${workflow.digest}) · ${report.status}`,
    `  started  ${moment(startedAt)} UTC by ${who(startedBy)}${endedAt === undefined ? '' : `, ended ${moment(endedAt)} UTC`}`,
  ]
  if (report.fork !== undefined)
    out.push(`  forked   from ${report.fork.run} at ${report.fork.at}, effects ${report.fork.effects}`)
  if (report.input !== undefined) out.push(`  given    ${brief(report.input, 100)}`)
  if (report.result !== undefined) out.push(`  result   ${brief(report.result, 100)}`)
  if (error !== undefined) out.push(`  error    ${style.bad(error.code)} ${line(error.message, 160)}`)
  const part = (title: string, lines: readonly string[]): void => {
    if (lines.length > 0) out.push('', style.strong(title), ...lines.map((l) => `  ${l}`))
  }
  part('Who', [
    ...report.roles.map(
      (r) => `${r.role}: ${r.agent}@${r.version}${r.model === undefined ? '' : `, ${r.model}`}${why(r.rule)}  ${r.ref}`,
    ),
    ...report.actors.filter((a) => a.kind === 'person').map(who),
  ])
  part(
    'Models',
    report.models.map(
      (m) =>
        `${m.model}${m.served.length === 0 ? '' : ` (served ${m.served.join(', ')})`}: ${count(m.calls)} calls, ` +
        `${count(m.input + m.output)} tokens, ${dollars(m.cost)}`,
    ),
  )
  part(
    'Policy',
    report.policies.map((p) => `version ${p.version}${p.digest === undefined ? '' : `, digest ${p.digest}`}`),
  )
  const stories = new Map(report.approvals.map((story) => [story.id, story]))
  part(
    'Calls',
    report.actions.flatMap((action) => actionLines(action, stories, style)),
  )
  const asked = new Set(report.actions.flatMap((a) => a.approvals))
  part(
    'Other questions to people',
    report.approvals.filter((a) => !asked.has(a.id)).flatMap((a) => storyLines(a)),
  )
  part(
    'Concluded',
    report.conclusions.flatMap((c) => [
      `${c.path}: ${brief(c.value, 90)}${c.confidence === undefined ? '' : ` (confidence ${c.confidence})`}`,
      ...c.claims.flatMap((claim) => [
        `  ${line(claim.statement, 100)}`,
        ...claim.evidence.map((e) => `    ${e.record}  “${line(e.quote, 80)}”`),
      ]),
    ]),
  )
  part(
    'Relabelled',
    report.relabelled.map(({ path, ref, by, said }) => {
      const story = relabelOf(ref, path, object(said) ?? {})
      // What was refused changed nothing; the error says who refused.
      return `${path} ${story === undefined ? `by ${who(by)}: ${exact(said, 120)}` : relabelText(story)}  ${ref}`
    }),
  )
  if (report.erased.length > 0) part('Erased', [report.erased.join(', ')])
  return out.join('\n')
}

function who({ kind, id, version, onBehalfOf }: Actor): string {
  return `${kind} ${id}${version === undefined ? '' : `@${version}`}${onBehalfOf === undefined ? '' : ` for ${onBehalfOf}`}`
}

function why(rule: string | undefined): string {
  return rule === undefined ? '' : ` (${rule})`
}

function actionLines(action: ActionFact, stories: ReadonlyMap<string, ApprovalStory>, style: Style): string[] {
  const { error, policy, known, effect } = action
  const state =
    action.outcome === 'done' ? style.good('done') : action.outcome === 'failed' ? style.bad('failed') : 'open'
  const facts = [
    ...(effect === undefined ? [] : [effect]),
    ...(action.sent.length === 0 ? [] : [`sent ${action.sent.length}×`]),
    ...(known === undefined ? [] : [`effect ${known}`]),
  ]
  return [
    `${action.path}  ${action.tool}  ${[state, ...facts].join(' · ')}${action.ref === undefined ? '' : `  ${action.ref}`}`,
    `  by ${action.role === undefined ? '' : `role ${action.role}, `}${who(action.by)}: ${exact(action.action, 140)}`,
    ...(error === undefined ? [] : [`  ${style.bad(error.code)} ${line(error.message, 140)}`]),
    ...(policy === undefined
      ? []
      : [
          `  policy ${policy.version}: ${policy.outcome ?? ''}${policy.rules.length === 0 ? '' : ` (${policy.rules.join('; ')})`}`,
        ]),
    ...action.approvals.flatMap((id) => {
      const story = stories.get(id)
      return story === undefined ? [] : storyLines(story).map((l) => `  ${l}`)
    }),
  ]
}

function storyLines(story: ApprovalStory): string[] {
  const by = story.state === 'pending' ? soFar(story) : story.by === undefined ? '' : ` by ${deciders(story)}`
  const at = story.at === undefined ? '' : ` ${moment(story.at)} UTC`
  const reason = story.reason === undefined ? '' : `: ${line(story.reason, 100)}`
  return [
    `${story.id}  ${line(story.title, 80)}${story.group === undefined ? '' : `, asked of ${story.group}`}: ${story.state}${by}${at}${reason}`,
    ...story.changes.map((c) => `  ${c.pointer}  ${exact(c.before, 60)} → ${exact(c.after, 60)}`),
  ]
}
