import { quote } from '../core/canonical.ts'

// How the rows of a page become text (reads.ts), which wire.ts reads.

/**
 * Characters of one text, or one row. What is larger than 128 KB gets memory of its own in V8, which the system has to
 * clear page by page as it is touched: that took a third of the thread's time. A character may take two bytes.
 */
const textChars = 56 << 10

/** Rows of a page, gathered into texts that are flat as they are: a bracket around a joined one would copy it once more. */
export class Texts {
  readonly #texts: string[] = []
  #rows: string[] = []
  #open = 0
  chars = 0
  count = 0

  add(row: string): void {
    this.#rows.push(this.#open === 0 ? `[${row}` : row)
    this.#open += row.length
    this.chars += row.length
    this.count++
    if (this.#open >= textChars) this.#close()
  }

  end(): readonly string[] {
    if (this.#open > 0) this.#close()
    return this.#texts
  }

  #close(): void {
    this.#rows.push(`${String(this.#rows.pop())}]`)
    this.#texts.push(this.#rows.join(','))
    this.#rows = []
    this.#open = 0
  }
}

/** Most have one cause of the run's own. @throws SyntaxError */
export function areCauses(text: string | null): boolean {
  if (text === null || /^\["[a-z]@\d+"\]$/.test(text)) return true
  const items: unknown = JSON.parse(text)
  return Array.isArray(items) && items.every((item) => typeof item === 'string')
}

export function orNothing(text: string | null): string {
  return text === null ? '0' : quote(text)
}
