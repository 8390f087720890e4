import { difference, hashOf, type Definition } from './definition.ts'
import type { Pin } from './pins.ts'

/** A tool as a server serves it now. */
export interface Served {
  readonly server: string
  readonly definition: Definition
}

/**
 * Why a tool may not be used.
 *
 * - `new`: nobody has accepted it yet
 * - `changed`: its description or a schema is not what was accepted
 * - `shadowing`: another server has a tool of the same name
 * - `imitating`: its name looks like that of another tool
 * - `clashing`: another tool would get the same name in the app
 */
export type Reason = 'new' | 'changed' | 'shadowing' | 'imitating' | 'clashing'

export interface Quarantined {
  /** `<server>.<tool>`. */
  readonly tool: string
  readonly server: string
  readonly reasons: readonly Reason[]
  /** Other tools, as `<server>.<tool>`, that it shadows or imitates. */
  readonly rivals: readonly string[]
  /** From what was accepted to what is served; invisible characters are written out. */
  readonly difference: string
  /** Of what is shown here; accepting names it, so that only what was seen is accepted. */
  readonly hash: string
}

export interface Review {
  readonly accepted: readonly Served[]
  readonly quarantined: readonly Quarantined[]
}

export function refOf(served: Served): string {
  return `${served.server}.${served.definition.name}`
}

/** Judges what servers serve by what people accepted. `own`: names of the app's other tools. */
export function review(served: readonly Served[], pins: ReadonlyMap<string, Pin>, own: readonly string[] = []): Review {
  const accepted: Served[] = []
  const quarantined: Quarantined[] = []
  for (const one of served) {
    const ref = refOf(one)
    const pin = pins.get(ref)
    const hash = hashOf(one.definition)
    const known = pin === undefined ? [] : pin.rivals
    const others = served.filter((other) => other !== one)
    const same = others.filter((o) => o.definition.name === one.definition.name).map(refOf)
    const alike = [
      ...others
        .filter((o) => o.definition.name !== one.definition.name && looks(o.definition.name, one.definition.name))
        .map(refOf),
      ...own.filter((name) => looks(lastPart(name), one.definition.name) || looks(name, ref)),
    ]
    const clashing = others.filter((o) => refOf(o) !== ref && toolName(o) === toolName(one)).map(refOf)
    // Between two that look alike, the one that was accepted without knowing of the other was there first.
    const settled = (rival: string): boolean =>
      known.includes(rival) ||
      (pin?.hash === hash && pins.get(rival)?.rivals.includes(ref) === true) ||
      firstThere(pin, hash, pins.get(rival))
    const reasons: Reason[] = []
    if (pin === undefined) reasons.push('new')
    else if (pin.hash !== hash) reasons.push('changed')
    if (same.some((r) => !settled(r))) reasons.push('shadowing')
    if (alike.some((r) => !settled(r))) reasons.push('imitating')
    if (clashing.length > 0) reasons.push('clashing')
    if (reasons.length === 0) accepted.push(one)
    else
      quarantined.push({
        tool: ref,
        server: one.server,
        reasons,
        rivals: [...new Set([...same, ...alike, ...clashing])].sort(),
        difference: difference(pin?.definition, one.definition),
        hash,
      })
  }
  return { accepted, quarantined }
}

/** A tool that stands as accepted keeps its place beside one that nobody accepted. */
function firstThere(pin: Pin | undefined, hash: string, rival: Pin | undefined): boolean {
  return pin?.hash === hash && rival === undefined
}

/** What the app and models call it; names that do not fit keep a piece of their hash, so that they stay apart. */
export function toolName(served: Served): string {
  const plain = `${served.server}.${served.definition.name}`
  const fit = plain.replace(/[^A-Za-z0-9._-]/g, '_')
  if (fit === plain && fit.length <= 64) return fit
  return `${fit.slice(0, 55)}_${hashOf({ name: plain, description: '', inputSchema: {} }).slice(0, 8)}`
}

function lastPart(name: string): string {
  return name.split('.').at(-1) ?? name
}

/** Whether a reader may take one name for the other: case, separators, accents and characters that look alike. */
export function looks(a: string, b: string): boolean {
  return skeleton(a) === skeleton(b)
}

/** Letters of other scripts that look Latin (UTS 39 calls them confusable): the ones that names in Latin are faked with. */
const alike: Readonly<Record<string, string>> = Object.fromEntries(
  [
    ['a', 'аαɑ'],
    ['b', 'Ьв'],
    ['c', 'сϲ'],
    ['d', 'ԁ'],
    ['e', 'еєε'],
    ['g', 'ɡ'],
    ['h', 'һн'],
    ['i', 'іιı'],
    ['j', 'ј'],
    ['k', 'кκ'],
    ['m', 'м'],
    ['n', 'п'],
    ['o', 'оοσօ'],
    ['p', 'рρ'],
    ['q', 'ԛ'],
    ['s', 'ѕ'],
    ['t', 'тτ'],
    ['u', 'υս'],
    ['v', 'ѵν'],
    ['w', 'ԝω'],
    ['x', 'хχ'],
    ['y', 'уγ'],
  ].flatMap(([latin, others]) => [...(others ?? '')].map((letter) => [letter, latin ?? ''])),
)

function skeleton(name: string): string {
  const folded = name
    .normalize('NFKD')
    .toLowerCase()
    .replace(/\p{M}|\p{Cf}/gu, '')
  return [...folded]
    .map((letter) => alike[letter] ?? letter)
    .join('')
    .replace(/[^\p{L}\p{N}]/gu, '')
    .replaceAll('rn', 'm')
    .replaceAll('vv', 'w')
    .replace(/[1l|]/g, 'i')
    .replaceAll('0', 'o')
}
