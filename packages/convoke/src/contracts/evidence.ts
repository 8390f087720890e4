import { canonicalize } from '../core/canonical.ts'
import type { Json } from '../core/json.ts'
import type { RecordRef } from '../core/record.ts'
import { factsOf, missingFrom, plainText, type Facts } from './facts.ts'
import type { Citation, Claim, Evidence, StatedClaim } from './outcome.ts'
import type { EvidenceMode } from './role.ts'

// The mechanical check of evidence: it judges no truth, only whether what a claim rests on was really shown to the
// agent and says what the claim says. What it refuses, the agent can repair from the sentence.

/** A text as the agent was shown it. */
export interface ShownSegment {
  /** What claims cite it by; the record's ref works as well. */
  readonly id: string
  readonly ref: RecordRef
  readonly text: string
}

export interface EvidenceProblem {
  readonly kind:
    | 'claims-missing'
    | 'evidence-missing'
    | 'ref-unknown'
    | 'quote-empty'
    | 'quote-missing'
    | 'fact-missing'
    | 'about-missing'
    | 'value-differs'
  /** Position of the claim, from 0. */
  readonly claim?: number
  /** A sentence that says what to repair. */
  readonly message: string
}

export interface EvidenceCheck {
  readonly claims: readonly StatedClaim[]
  /** What the claims' `about` points into. */
  readonly value: Json | undefined
  readonly shown: readonly ShownSegment[]
  readonly mode: EvidenceMode
}

export type EvidenceVerdict =
  /** The claims with the records that support them. */
  | { readonly ok: true; readonly claims: readonly Claim[] }
  | { readonly ok: false; readonly problems: readonly EvidenceProblem[] }

const maxProblems = 20
/** A hostile text could make each of its places an occurrence of a long quote that cuts a number. */
const maxOccurrences = 1000

/**
 * Checks every claim: what it cites was shown; each quote occurs there (white space and Unicode normal form apart);
 * every number, amount, date and identifier of the statement occurs in what it cites; and what `about` points to
 * exists and, if it is such a fact itself, occurs in the statement or there too. `required` wants at least one claim,
 * and evidence for each; with `none` claims are left out unread.
 */
export function checkEvidence(check: EvidenceCheck): EvidenceVerdict {
  const { claims, mode } = check
  if (mode === 'none') return { ok: true, claims: [] }
  const problems: EvidenceProblem[] = []
  if (mode === 'required' && claims.length === 0)
    problems.push({
      kind: 'claims-missing',
      message: 'the answer has no claims; state what it rests on, with evidence',
    })
  const library = openLibrary(check.shown)
  const checked = claims.map((claim, i) => {
    if (problems.length >= maxProblems) return { ...claim, evidence: [] }
    return checkClaim(claim, check, library, (kind, message) => problems.push({ kind, claim: i, message }))
  })
  return problems.length === 0 ? { ok: true, claims: checked } : { ok: false, problems: problems.slice(0, maxProblems) }
}

/** A segment, prepared for searching when it is first cited. */
interface Book {
  readonly segment: ShownSegment
  readonly plain: () => string
  readonly facts: () => Facts
}
type Library = ReadonlyMap<string, readonly Book[]>
type Report = (kind: EvidenceProblem['kind'], message: string) => void

function openLibrary(shown: readonly ShownSegment[]): Library {
  const library = new Map<string, Book[]>()
  for (const segment of shown) {
    let plain: string | undefined
    let facts: Facts | undefined
    const book = {
      segment,
      plain: () => (plain ??= plainText(segment.text)),
      facts: () => (facts ??= factsOf(segment.text)),
    }
    for (const name of new Set([segment.id, segment.ref])) {
      const books = library.get(name)
      if (books === undefined) library.set(name, [book])
      else books.push(book)
    }
  }
  return library
}

function checkClaim(claim: StatedClaim, check: EvidenceCheck, library: Library, report: Report): Claim {
  const { statement, evidence } = claim
  const cited: Book[] = []
  const found: Evidence[] = []
  if (evidence.length === 0 && check.mode === 'required')
    report('evidence-missing', `the claim ${show(statement)} has no evidence; cite what it rests on, or leave it out`)
  for (const citation of evidence) {
    const book = find(citation, library, report)
    if (book === undefined) continue
    cited.push(book)
    found.push({ ...citation, record: book.segment.ref })
  }
  // What was cited wrongly is reported; the facts are looked for once all of it is there.
  if (found.length === evidence.length && evidence.length > 0) {
    const names = [...new Set(evidence.map(({ ref }) => ref))].join(', ')
    const facts = [...cited.map((book) => book.facts()), namesOf(cited)]
    const said = cited.reduce((text, { segment }) => text.replaceAll(segment.ref, ' '), statement)
    for (const spelled of missingFrom(said, facts))
      report('fact-missing', `${show(spelled)} is not in evidence ${names}; claim only what it says`)
    checkAbout(claim, check.value, [...facts, factsOf(statement)], report)
  } else if (evidence.length === 0) checkAbout(claim, check.value, undefined, report)
  return { ...claim, evidence: found }
}

/** A statement may name what it cites. */
function namesOf(cited: readonly Book[]): Facts {
  return { numbers: new Set(), dates: new Set(), runs: new Set(cited.map(({ segment }) => segment.id)) }
}

function find({ ref, quote }: Citation, library: Library, report: Report): Book | undefined {
  const books = library.get(ref)
  if (books === undefined) {
    const known = [...new Set([...library.values()].flat().map((book) => book.segment.id))]
    const list = known.length > 12 ? `${known.slice(0, 12).join(', ')}, …` : known.join(', ')
    report('ref-unknown', `${show(ref)} was not shown to you; cite one of: ${list === '' ? 'nothing was shown' : list}`)
    return undefined
  }
  const wanted = plainText(quote)
  if (!/[\p{L}\p{N}]/u.test(wanted)) {
    report('quote-empty', `the quote from ${ref} is empty; copy the words that support the claim`)
    return undefined
  }
  const book = books.find((one) => occurs(wanted, one.plain()))
  if (book === undefined)
    report('quote-missing', `the quote ${show(wanted)} does not occur in ${ref}; copy it character by character`)
  return book
}

/** Whether the quote stands in the text without cutting a number: `quantity: 10` is not a quote of `quantity: 100`. */
function occurs(quote: string, text: string): boolean {
  let at = text.indexOf(quote)
  for (let tries = 0; at >= 0 && tries < maxOccurrences; tries++, at = text.indexOf(quote, at + 1)) {
    const before = text.slice(Math.max(0, at - 2), at)
    const end = at + quote.length
    const cutsStart = /^\p{N}/u.test(quote) && /\p{N}[.,]?$/u.test(before)
    const cutsEnd = /\p{N}$/u.test(quote) && /^[.,]?\p{N}/u.test(text.slice(end, end + 2))
    if (!cutsStart && !cutsEnd) return true
  }
  return false
}

function checkAbout(
  claim: StatedClaim,
  value: Json | undefined,
  facts: readonly Facts[] | undefined,
  report: Report,
): void {
  const { about, statement } = claim
  if (about === undefined) return
  const target = pointAt(value, about)
  if (target === undefined) {
    report('about-missing', `${show(about)} points to nothing in the value; correct the pointer of ${show(statement)}`)
    return
  }
  if (facts === undefined || (typeof target !== 'number' && typeof target !== 'string')) return
  const text = typeof target === 'number' ? canonicalize(target) : target
  // Prose may say more than the statement; an amount, a date or a number of a document may not.
  if (/\s/u.test(text.trim()) || missingFrom(text, facts).length === 0) return
  report('value-differs', `${about} is ${show(text)}, but neither the claim about it nor its evidence says so`)
}

/** RFC 6901. */
function pointAt(value: Json | undefined, pointer: string): Json | undefined {
  if (pointer === '') return value
  if (!pointer.startsWith('/')) return undefined
  let here = value
  for (const part of pointer.slice(1).split('/')) {
    if (typeof here !== 'object' || here === null) return undefined
    const key = part.replaceAll('~1', '/').replaceAll('~0', '~')
    if (!Object.hasOwn(here, key) || (Array.isArray(here) && !/^(?:0|[1-9]\d*)$/.test(key))) return undefined
    here = (here as Readonly<Record<string, Json>>)[key]
  }
  return here
}

function show(text: string): string {
  return JSON.stringify(text.length > 120 ? `${text.slice(0, 117)}…` : text)
}
