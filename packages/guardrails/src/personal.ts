import { isIP } from 'node:net'
import cardValidator from 'card-validator'
import type { Guardrail, TextFinding, TextRule } from 'convoke'
import { getCountrySpecifications, isValidIBAN } from 'ibantools'
import { findPhoneNumbersInText, type CountryCode } from 'libphonenumber-js'
import { LinkifyIt } from 'linkify-it'
import { personValidators, stdnum } from 'stdnum'
import { guardrail, type RailOptions } from './rail.ts'

// Whether something is an address, a number of an account, a card, a person or a telephone is said by libraries that
// follow the registries (linkify-it, ibantools with SWIFT's, card-validator with the networks', stdnum with the states',
// libphonenumber with the operators'). What is our own is where to look: at words, and at runs of words that are written
// with gaps, as people write such numbers.

export type PersonalKind = 'email' | 'iban' | 'card' | 'phone' | 'ip' | 'person-number'

export interface PersonalOptions extends RailOptions {
  /** All unless said. */
  readonly kinds?: readonly PersonalKind[]
  /**
   * Two-letter codes of countries whose numbers of persons are looked for, and whose telephone numbers are known without
   * their country code. None unless said: such numbers are short, and many other numbers look like them.
   */
  readonly countries?: readonly string[]
}

/** An e-mail address is at most 254 characters; the others are far shorter. */
const reach = 320

/** @throws RangeError for a country whose numbers are not known */
export function personalRule(options: Pick<PersonalOptions, 'kinds' | 'countries'> = {}): Omit<TextRule, 'act'> {
  const kinds = new Set<PersonalKind>(options.kinds ?? ['email', 'iban', 'card', 'phone', 'ip', 'person-number'])
  const countries = options.countries ?? []
  for (const country of countries)
    if (!(country in stdnum)) throw new RangeError(`no numbers of persons are known for country ${country}`)
  return {
    reach,
    find(text) {
      const found: TextFinding[] = []
      if (kinds.has('email') && text.includes('@')) found.push(...emails(text))
      if (kinds.has('phone')) found.push(...phones(text, countries as readonly CountryCode[]))
      const words = kinds.has('iban') || kinds.has('card') || countries.length > 0 ? wordsOf(text) : []
      if (kinds.has('iban')) found.push(...ibans(text, words))
      if (kinds.has('card')) found.push(...cards(text, words))
      if (kinds.has('person-number') && countries.length > 0) found.push(...persons(text, words, countries))
      if (kinds.has('ip')) found.push(...addresses(text))
      return found
    },
  }
}

/** Finds e-mail addresses, accounts, cards, telephone numbers, IP addresses and numbers of persons; redacts unless said. */
export function personalDataGuardrail(options: PersonalOptions = {}): Guardrail {
  return guardrail('personal-data', personalRule(options), options)
}

/** The finder of e-mail addresses alone, for rules of one's own about them. */
const linkify = new LinkifyIt({ fuzzyLink: false, fuzzyEmail: true })

export function emails(text: string): readonly TextFinding[] {
  return (linkify.match(text) ?? [])
    .filter(({ schema }) => schema === 'mailto:')
    .map(({ index, lastIndex }) => ({ start: index, end: lastIndex, kind: 'email' }))
}

interface Word {
  readonly start: number
  readonly end: number
}

/** Words of letters and digits that have a digit, and their neighbours. */
function wordsOf(text: string): readonly Word[] {
  return [...text.matchAll(/[0-9A-Za-z]+/g)].map((m) => ({ start: m.index, end: m.index + m[0].length }))
}

/** Numbers are written in groups with one such character between them. */
const gap = /^[ \u00a0.\-/]$/

/** The longest run of words from one on that `fits`, with what is written in it. */
function runFrom(
  text: string,
  words: readonly Word[],
  from: number,
  most: { readonly letters: number; readonly groups: number },
  fits: (compact: string, written: string) => boolean,
): Word | undefined {
  let compact = ''
  let best: Word | undefined
  const { start } = words[from] as Word
  for (let i = from; i < words.length && i < from + most.groups; i++) {
    const word = words[i] as Word
    if (i > from && !gap.test(text.slice((words[i - 1] as Word).end, word.start))) break
    compact += text.slice(word.start, word.end)
    if (compact.length > most.letters) break
    if (fits(compact, text.slice(start, word.end))) best = { start, end: word.end }
  }
  return best
}

const ibanLengths = new Map(
  Object.entries(getCountrySpecifications()).flatMap(([country, { chars }]) =>
    chars === null ? [] : [[country, chars]],
  ),
)
const longestIban = Math.max(...ibanLengths.values())

function ibans(text: string, words: readonly Word[]): TextFinding[] {
  const found: TextFinding[] = []
  for (const [i, { start }] of words.entries()) {
    if (!/^[A-Za-z]{2}\d{2}/.test(text.slice(start, start + 4))) continue
    const length = ibanLengths.get(text.slice(start, start + 2).toUpperCase())
    const run = runFrom(
      text,
      words,
      i,
      { letters: longestIban, groups: 9 },
      (compact) => compact.length === length && isValidIBAN(compact.toUpperCase()),
    )
    if (run !== undefined) found.push({ ...run, kind: 'iban' })
  }
  return found
}

function cards(text: string, words: readonly Word[]): TextFinding[] {
  const found: TextFinding[] = []
  let done = 0
  for (const [i, { start }] of words.entries()) {
    // Behind a point and a digit stand the decimals of a number.
    if (
      start < done ||
      !/^\d{4}/.test(text.slice(start, start + 4)) ||
      /\d\.$/.test(text.slice(Math.max(0, start - 2), start))
    )
      continue
    const run = runFrom(text, words, i, { letters: 19, groups: 5 }, (compact) => {
      if (compact.length < 13 || !/^\d+$/.test(compact)) return false
      const { isValid, card } = cardValidator.number(compact)
      return isValid && card !== null
    })
    if (run === undefined) continue
    found.push({ ...run, kind: 'card' })
    done = run.end
  }
  return found
}

/** Fewer digits are too common to be told from amounts and dates. */
const personDigits = 8

function persons(text: string, words: readonly Word[], countries: readonly string[]): TextFinding[] {
  const validators = countries.flatMap((country) => personValidators[country] ?? [])
  const known = new Map<string, boolean>()
  const isPerson = (compact: string, written: string): boolean =>
    validators.some((validator) => {
      const checked = validator.validate(written)
      if (!checked.isValid || !checked.isIndividual) return false
      // With gaps it counts where it is written as its country writes it; short ones of digits alone do not without.
      return written === compact
        ? compact.length > 9 || /[A-Za-z]/.test(compact)
        : written === validator.format(compact)
    })
  const found: TextFinding[] = []
  let done = 0
  // Each number that is none comes as an error; where it was made is what costs most of it, and nobody reads that.
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = 0
  try {
    for (const [i, { start }] of words.entries()) {
      if (start < done) continue
      const run = runFrom(text, words, i, { letters: 16, groups: 7 }, (compact, written) => {
        if (compact.length < personDigits || (compact.match(/\d/g) ?? []).length < personDigits) return false
        let is = known.get(written)
        if (is === undefined) known.set(written, (is = isPerson(compact, written)))
        return is
      })
      if (run === undefined) continue
      found.push({ ...run, kind: 'person number' })
      done = run.end
    }
  } finally {
    Error.stackTraceLimit = stackTraceLimit
  }
  return found
}

/** No telephone number is longer, written with its gaps; the shortest that are found have so many digits. */
const phoneSpan = 40
const phoneDigits = 6

function phones(text: string, countries: readonly CountryCode[]): TextFinding[] {
  const found: TextFinding[] = []
  const take = (from: number, piece: string, country?: CountryCode): void => {
    if ((piece.match(/\d/g) ?? []).length < phoneDigits) return
    for (const { startsAt, endsAt } of findPhoneNumbersInText(piece, country))
      found.push({ start: from + startsAt, end: from + endsAt, kind: 'phone' })
  }
  // With their country code they begin with a plus, wherever they are: only there is looked, so that no text takes long.
  for (const { index } of text.matchAll(/\+[ (]?\d/g)) {
    const next = text.indexOf('+', index + 1)
    take(index, text.slice(index, Math.min(index + phoneSpan, next < 0 ? text.length : next)))
  }
  // Without it they are told by a word before them, since any number of some digits is one somewhere.
  if (countries.length > 0)
    for (const m of text.matchAll(
      /\b(?:tel|phone|mobile|cell|fax|call|telefon|handy|mobil|tél|teléfono|telefono)\b[^\d+\n]{0,12}(?=[(\d])/giu,
    )) {
      const from = m.index + m[0].length
      for (const country of countries) take(from, text.slice(from, from + phoneSpan), country)
    }
  return found
}

function addresses(text: string): TextFinding[] {
  const found: TextFinding[] = []
  for (const m of text.matchAll(
    /(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-f:]{2,39}(?:\.\d{1,3}){0,3})(?![\w:]|\.\d)/gi,
  )) {
    const version = isIP(m[0])
    // A version of something has four numbers as well; those begin small.
    if (version === 0 || (version === 6 && !/[0-9a-f]/i.test(m[0])) || (version === 4 && isVersion(text, m.index)))
      continue
    found.push({ start: m.index, end: m.index + m[0].length, kind: 'ip' })
  }
  return found
}

function isVersion(text: string, at: number): boolean {
  return /(?:version|release|build|\bv)[\s:=]*$/i.test(text.slice(Math.max(0, at - 16), at))
}
