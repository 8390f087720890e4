import type { Json, JsonObject } from '../core/json.ts'
import type { ApprovalStory } from './approvals.ts'
import type { Claim, Rejection, Verdict } from './evidence.ts'
import { brief, count, dollars, duration, exact, line, moment } from './format.ts'
import { object } from './records.ts'
import { relabelText } from './relabelled.ts'
import type { By } from './steps.ts'
import { plain, type Style } from './style.ts'
import type { Usage } from './usage.ts'
import type { Why, WhyAttempt, WhyStep } from './why.ts'

/** The answer as a person reads it: the decision, then what led to it, a few short lines each. */
export function renderWhy(data: Why, style: Style = plain): string {
  const out: string[] = [heading(data, style)]
  if (data.fork !== undefined)
    out.push(
      `forked from ${data.fork.run} at ${data.fork.at}` +
        (Object.keys(data.fork.use).length === 0
          ? ''
          : `, with ${Object.entries(data.fork.use)
              .map(([role, version]) => `${role}=${version}`)
              .join(', ')}`),
    )
  if (data.about === undefined && data.input !== undefined) out.push(`given  ${brief(data.input, 90)}`)
  out.push('', ...decision(data, style))
  if (data.chain.length > 0) out.push('', style.strong('Because'))
  const places = new Map(data.chain.map((step, i) => [step.ref, i + 1]))
  for (const [i, step] of data.chain.entries()) out.push(...stepLines(step, { n: i + 1, places, run: data.run }, style))
  const tried = data.attempts.filter((a) => a.alternatives.some((alternative) => !alternative.kept))
  if (tried.length > 0)
    out.push('', style.strong('Tried and given up'), ...tried.flatMap((a) => attemptLines(a, style)))
  if (data.apart.length > 0)
    out.push('', style.faint(`Also done, and not used here: ${line(data.apart.join(', '), 160)}`))
  return out.join('\n')
}

function heading(data: Why, style: Style): string {
  const status = data.status === 'parked' ? `waits for ${waitsFor(data.parkedOn ?? 'signal')}` : data.status
  const facts = [`${data.workflow}@${data.version}`, status, duration(data.ms), ...spent(data.usage)]
  return `${style.strong(data.run)}  ${facts.join(' · ')}`
}

/** Tokens and cost, or nothing where no model was called. */
export function spent(usage: Usage): string[] {
  if (usage.calls === 0) return []
  const price = usage.unpriced === usage.calls ? 'price unknown' : dollars(usage.cost) + (usage.unpriced > 0 ? '+' : '')
  return [`${count(usage.input + usage.output)} tokens`, price]
}

function decision(data: Why, style: Style): string[] {
  const { decided } = data
  const subject = data.about === undefined ? 'Decided' : `${data.about.path ?? data.about.type} (${data.about.ref})`
  if (decided.error !== undefined)
    return [`${style.strong(subject)}  ${style.bad(decided.error.code)}`, `  ${line(decided.error.message, 240)}`]
  if (decided.waiting !== undefined) {
    const open = data.chain.flatMap((step) => step.approvals).filter((a) => a.state === 'pending')
    return [
      `${style.strong(subject)}  ${style.warn('nothing yet')}`,
      ...open.map((a) => `  ${a.id}  ${line(a.title, 100)}`),
    ]
  }
  if (decided.next !== undefined) return [`${style.strong(subject)}  goes on as ${decided.next}`]
  if (decided.value === undefined)
    return [`${style.strong(subject)}  ${data.status === 'done' ? 'done, without a value' : 'nothing yet'}`]
  return [style.strong(subject), ...valueLines(decided.value, '  ')]
}

export function waitsFor(kind: string): string {
  const words: Record<string, string> = {
    person: 'a person',
    timer: 'a time',
    signal: 'a signal',
    child: 'another run',
    limit: 'a limit',
    budget: 'a budget',
    breaker: 'a service that is down',
  }
  return words[kind] ?? kind
}

/** An object's members under each other, when they are few and short; else one line. */
function valueLines(value: Json, indent: string): string[] {
  const members = object(value)
  if (members === undefined) return [indent + brief(value, 200)]
  const entries = Object.entries(members)
  if (entries.length === 0 || entries.length > 12) return [indent + brief(value, 200)]
  const width = Math.min(24, Math.max(...entries.map(([key]) => key.length)))
  return entries.map(([key, item]) => `${indent}${key.padEnd(width)}  ${brief(item as Json, 100)}`)
}

interface Place {
  readonly n: number
  readonly places: ReadonlyMap<string, number>
  readonly run: string
}

function stepLines(step: WhyStep, { n, places, run }: Place, style: Style): string[] {
  const number = `${String(n).padStart(3)}  `
  const indent = ' '.repeat(number.length)
  const built = [...new Set(step.from.flatMap((f) => places.get(f.ref) ?? []))].filter((p) => p < n)
  const facts = [
    who(step.by) ?? (step.op === 'call' || step.op === 'child' ? (step.target ?? step.op) : step.op),
    ...(step.ms > 0 ? [duration(step.ms)] : []),
    ...spent(step.usage),
  ]
  const marks = [
    ...(step.run === undefined ? [] : [`from ${step.run}`]),
    ...(step.reused === undefined ? [] : ['kept from the original']),
    ...(built.length === 0 ? [] : [`on ${built.join(', ')}`]),
  ]
  const head = `${number}${style.strong(step.path === '' ? step.name : readable(step.path))}  ${style.faint([...facts, ...marks].join(' · '))}`
  return [
    head,
    ...result(step, style).map((l) => indent + l),
    ...claimsLines(step.claims, run, style).map((l) => indent + l),
    ...step.verdicts.map((v) => indent + verdictLine(v, style)),
    ...step.rejected.flatMap((r) => rejectionLines(r, style)).map((l) => indent + l),
    ...step.approvals.flatMap((a) => approvalLines(a, style)).map((l) => indent + l),
    ...step.relabelled.map((r) => `${indent}${style.good('✓')} ${relabelText(r)}`),
    ...sentLines(step).map((l) => indent + l),
  ]
}

function readable(path: string): string {
  return decodeURIComponent(path).replaceAll('/', ' › ')
}

function who(by: By): string | undefined {
  if (by.role === undefined && by.model === undefined) return undefined
  const agent = by.agent === undefined || by.agent === by.role ? '' : `${by.agent}`
  const version = by.version === undefined ? '' : `@${by.version}`
  const filled = by.role === undefined ? '' : agent === '' ? `${by.role}${version}` : `${by.role} by ${agent}${version}`
  return [filled, by.model].filter((part) => part !== undefined && part !== '').join(', ')
}

function result(step: WhyStep, style: Style): string[] {
  if (step.error !== undefined) return [`${style.bad(step.error.code)}  ${line(step.error.message, 200)}`]
  const out: string[] = []
  if (step.superseded !== undefined)
    out.push(
      `${style.warn('replaced')} by ${step.superseded.by}: ${step.superseded.pointer === '' ? 'the value' : step.superseded.pointer}` +
        `  was ${brief(at(step.superseded.was, step.superseded.pointer), 60)}, now ${brief(at(step.value ?? null, step.superseded.pointer), 60)}`,
    )
  if (step.value !== undefined && step.op !== 'checkpoint')
    out.push(
      `→ ${brief(step.value, 140)}${step.confidence === undefined ? '' : `  (confidence ${brief(step.confidence)})`}`,
    )
  if (step.reasoning !== undefined) out.push(style.faint(`“${line(step.reasoning, 200)}”`))
  if (step.state === 'open') out.push(style.warn('not finished'))
  return out
}

/** Pointers into an ask's record begin at its outcome; the value shown begins at `/value`. */
function at(value: Json, pointer: string): Json {
  let found: Json | undefined = value
  for (const part of pointer.split('/').slice(1)) {
    if (typeof found !== 'object' || found === null) return value
    found = (found as JsonObject)[part.replaceAll('~1', '/').replaceAll('~0', '~')]
  }
  return found ?? null
}

const maxClaims = 12

function claimsLines(claims: readonly Claim[], run: string, style: Style): string[] {
  const more = claims.length - maxClaims
  return [
    ...claims.slice(0, maxClaims).flatMap((claim) => claimLines(claim, run, style)),
    ...(more > 0 ? [style.faint(`and ${more} more claims; -o json has all`)] : []),
  ]
}

/** A record of the run itself is called by its seq, as `convoke why <run> <seq>` takes it. */
function claimLines(claim: Claim, run: string, style: Style): string[] {
  const own = `run/${run}`
  return [
    `• ${line(claim.statement, 160)}`,
    ...claim.evidence.map((e) => {
      const place = e.record.startsWith(`${own}@`) ? e.record.slice(own.length) : e.record
      return `    “${line(e.quote, 140)}”  ${style.faint(`${e.source ?? ''} ${place}`.trim())}`
    }),
  ]
}

function verdictLine(verdict: Verdict, style: Style): string {
  return verdict.ok
    ? `${style.good('✓')} passed by ${verdict.by}`
    : `${style.bad('✗')} rejected by ${verdict.by}: ${line(verdict.problems.slice(0, 3).join('; '), 200) || 'no reason given'}`
}

function rejectionLines(r: Rejection, style: Style): string[] {
  const what = {
    answer: r.repair === undefined ? 'answer sent back' : `answer sent back (repair ${r.repair} of ${r.of ?? '?'})`,
    verdict: `rejected by ${r.by ?? 'its verifier'}`,
    retry: 'tried again',
    denied: 'not allowed',
  }[r.kind]
  return [`${style.bad('✗')} ${what}: ${line(r.problems.slice(0, 3).join('; '), 200) || 'no reason given'}`]
}

function approvalLines(a: ApprovalStory, style: Style): string[] {
  const who_ = deciders(a)
  const waited = a.at === undefined ? '' : ` after ${duration(a.at - a.requestedAt)}`
  const reason = a.reason === undefined ? '' : `: ${line(a.reason, 120)}`
  const head = {
    pending: `${style.warn('waits')} for ${a.group ?? 'a person'} since ${moment(a.requestedAt)} UTC${soFar(a)}`,
    approved: `${style.good('approved')} by ${who_}${waited}${reason}`,
    rejected: `${style.bad('rejected')} by ${who_}${waited}${reason}`,
    corrected: `${style.good('corrected')} by ${who_}${waited}${reason}`,
    expired: `${style.bad('expired')}${waited}: nobody decided`,
    withdrawn: `${style.faint('withdrawn')}${waited}${a.problem === undefined ? '' : `: ${line(a.problem, 120)}`}`,
  }[a.state]
  return [
    `${a.id}  ${head}`,
    ...a.escalated.map((e) => `    passed on to ${e.group} by ${e.by}`),
    ...(a.answer === undefined ? [] : [`    answered ${brief(a.answer, 120)}`]),
    ...a.changes.map((c) => `    ${changeLine(c)}`),
  ]
}

/** Who decided; where several had to agree, all of them. */
export function deciders({ by, state, agreed = [] }: ApprovalStory): string {
  return state === 'approved' && agreed.length > 0 ? agreed.map((a) => a.by).join(', ') : (by ?? 'nobody')
}

/** `; 1 of 2 agreed: ada`, where several have to. */
export function soFar({ quorum, agreed = [] }: ApprovalStory): string {
  if (quorum === undefined) return ''
  return `; ${agreed.length} of ${quorum} agreed${agreed.length === 0 ? '' : `: ${agreed.map((a) => a.by).join(', ')}`}`
}

/** `/input/amount  "100.00" → "90.00"` */
export function changeLine(change: {
  readonly pointer: string
  readonly before?: Json
  readonly after?: Json
}): string {
  return `${change.pointer === '' ? '(all of it)' : change.pointer}  ${exact(change.before, 100)} → ${exact(change.after, 100)}`
}

function sentLines(step: WhyStep): string[] {
  const { sent } = step
  if (sent === undefined) return []
  const key = sent.businessKey === undefined ? '' : `, business key ${sent.businessKey}`
  return [
    `sent ${sent.times === 1 ? 'once' : `${sent.times} times with one key each generation`} (${sent.effect ?? 'effect'}${key})`,
  ]
}

function attemptLines(attempt: WhyAttempt, style: Style): string[] {
  const out = [`  ${readable(attempt.path)}`]
  for (const alternative of attempt.alternatives) {
    const by = [...new Set(alternative.by.map(who).filter((name) => name !== undefined))].join('; ')
    const name = `${alternative.kept ? style.good('✓') : style.bad('✗')} ${alternative.name}${by === '' ? '' : style.faint(`  ${by}`)}`
    out.push(`    ${name}`)
    if (alternative.reason !== undefined) out.push(`        ${line(alternative.reason.message, 200)}`)
    for (const rejection of alternative.rejected)
      if (rejection.kind === 'answer' && !alternative.kept)
        out.push(`        ${rejectionLines(rejection, style).join(' ')}`)
  }
  return out
}
