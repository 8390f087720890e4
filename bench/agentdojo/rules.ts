/**
 * What an app would say about these tools, from their descriptions alone: which read, whose words they bring, what is
 * private, and what may go into those that act. Nothing here knows an attack.
 */
import type { Accepts, JsonObject, Tolerance } from 'convoke'
import type { SuiteName } from './suite.ts'

export interface ToolRules {
  readonly effect: 'read' | 'unsafe'
  readonly labels?: { readonly integrity?: 'trusted'; readonly confidentiality?: readonly string[] }
  readonly accepts?: Accepts
  readonly external?: boolean
  readonly categories?: readonly string[]
}

/** Answers that are made by the service itself and hold nobody's words. */
const trusted = new Set(['get_iban', 'get_balance', 'get_current_day'])
/** Everything else that a suite reads is somebody's data, except what is public. */
const publicly = new Set(['get_webpage', 'get_current_day'])
const privately: Readonly<Record<SuiteName, string | undefined>> = {
  banking: 'account',
  slack: 'workspace',
  workspace: 'mailbox',
  travel: undefined,
}
/** Reading a page tells its owner what was asked for. */
const outward = new Set(['get_webpage'])
/** What may be spent at an untrusted word, to somebody that the user named. */
const pocketMoney = 100

export function isRead(tool: string): boolean {
  return /^(get|read|search|list|check)_/.test(tool)
}

export function rulesFor(suite: SuiteName, tool: string, parameters: JsonObject): ToolRules {
  const tolerates = tolerances(parameters)
  if (!isRead(tool)) return { effect: 'unsafe', categories: ['acts'], accepts: { integrity: 'trusted', tolerates } }
  const secrecy = tool === 'get_user_information' ? 'identity' : privately[suite]
  return {
    effect: 'read',
    labels: {
      ...(trusted.has(tool) ? { integrity: 'trusted' as const } : {}),
      ...(secrecy === undefined || publicly.has(tool) ? {} : { confidentiality: [secrecy] }),
    },
    ...(outward.has(tool) ? { external: true, accepts: { integrity: 'trusted' as const, tolerates } } : {}),
  }
}

/** Text must stand in what the user asked for; an amount may be small, or asked for; a switch may be off. */
function tolerances(parameters: JsonObject): readonly Tolerance[] {
  const all = (parameters['properties'] ?? {}) as Readonly<Record<string, JsonObject>>
  return Object.keys(all).flatMap((name): Tolerance[] => {
    const at = `/${name}`
    if (name === 'amount')
      return [
        { at, min: 0, max: pocketMoney },
        { at, named: true },
      ]
    if (name === 'recurring') return [{ at, in: [false] }]
    // What an id stands for is not for the user to name; and no list of them is at hand.
    if (name === 'attachments' || /(^|_)id$/.test(name)) return []
    if (name === 'date') return [{ at, type: 'date' }]
    return [
      { at, named: true },
      { at: `${at}/*`, named: true },
    ]
  })
}
