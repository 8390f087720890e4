import { ConvokeError } from '../core/errors.ts'
import { denial, railName, type Guardrail } from './guardrail.ts'
import { findIn, redactText, type Finding, type TextRule } from './guard-text.ts'

// A stream of text on its way to those who watch. One guard owns the text of one answer while it comes. Invariants:
// 1. What has been shown is at every moment the beginning of what the guardrails make of the whole: `end` compares the
//    two, and an answer that differs is not given.
// 2. The last `reach` characters are held back, and everything from where something longer may have begun; so nothing
//    that a rule finds is shown in part, however the text was cut into pieces.
// 3. What is held back is bounded; text that cannot be judged within the bound denies.
// 4. A guardrail that has to see the whole lets nothing be shown before.

export interface TextStream {
  /** Takes the next piece. @throws GUARDRAIL_DENIED, once and for all */
  push(piece: string): void
  /** Shows the rest of what the guardrails left of the whole. @throws GUARDRAIL_DENIED when it is not what was shown */
  end(final: string): void
}

/** What may be held back while something is open. In UTF-16 units; the longest private keys have some 13,000. */
const maxHeld = 65_536
/** So many characters are gathered before rules look again: each look costs a reach on either side. */
const step = 48

export function textStream(rails: readonly Guardrail[], show: (piece: string) => void): TextStream {
  const rules = rails.flatMap((rail) =>
    rail.text === undefined || !(rail.text.at ?? ['answer']).includes('answer')
      ? []
      : [{ rule: rail.text, name: railName(rail) }],
  )
  const whole = rails.some((rail) => rail.answer !== undefined)
  const reach = Math.max(0, ...rules.map(({ rule }) => rule.reach))
  let text = ''
  /** How far of `text` it has been shown, and what of it. */
  let sent = 0
  let shown = ''
  let looked = 0
  let asks = false

  const say = (piece: string): void => {
    if (piece === '') return
    shown += piece
    show(piece)
  }

  function look(): void {
    const from = Math.max(0, sent - 2 * reach)
    const part = text.slice(from)
    const found: Finding[] = []
    let cut = text.length - reach
    for (const { rule, name } of rules) {
      const here = findIn(rule, part).map((f) => ({ ...f, start: f.start + from, end: f.end + from }))
      const fresh = here.filter((f) => f.end > sent)
      if (fresh.length > 0 && rule.act === 'deny') throw denial(name, 'this answer', `found ${fresh[0]?.kind ?? ''}`)
      if (fresh.length > 0 && rule.act === 'ask') asks = true
      found.push(...fresh)
      cut = Math.min(cut, openAt(rule, text, sent))
    }
    if (asks) return
    for (const { start, end } of found) if (start < cut && cut < end) cut = start
    // A character outside the basic plane is two units.
    if (cut > sent && isHigh(text.charCodeAt(cut - 1))) cut--
    if (cut <= sent) {
      if (text.length - sent > maxHeld + reach)
        throw denial(rules[0]?.name ?? '', 'this answer', `${maxHeld} characters on end could not be judged`)
      return
    }
    say(redactText(text, found, { from: sent, to: cut }))
    sent = cut
  }

  return {
    push(piece) {
      if (rules.length === 0 && !whole) {
        text += piece
        say(piece)
        return
      }
      text += piece
      if (whole || asks || text.length - looked < step) return
      looked = text.length
      look()
    },
    end(final) {
      if (!final.startsWith(shown))
        throw new ConvokeError(
          'GUARDRAIL_DENIED',
          'the whole answer was judged differently than what was shown of it',
          {
            details: { guardrail: rules.map(({ name }) => name).join(', '), reason: 'the stream and its end differ' },
            next: 'give the rules a longer reach, or let a guardrail see the whole before any of it is shown',
          },
        )
      say(final.slice(shown.length))
    },
  }
}

function openAt(rule: TextRule, text: string, sent: number): number {
  const at = rule.open?.(text.slice(sent))
  return at === undefined ? Infinity : sent + at
}

function isHigh(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdbff
}
