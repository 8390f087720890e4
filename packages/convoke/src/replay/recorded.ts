import { isTerminal, type Entry } from './types.ts'

/**
 * The records that a driven run began with, in ledger order. Owns how far replay has come, and which folds they close:
 * what stands inside a finished fold needs nobody to claim it.
 */
export class Recorded {
  readonly #entries: readonly Entry[]
  #closed: Set<string> | undefined
  #opened: Set<string> | undefined
  #next = 0

  constructor(entries: readonly Entry[]) {
    this.#entries = entries
    for (const entry of entries) {
      if (entry.record.fold !== undefined) (this.#opened ??= new Set()).add(entry.record.fold)
      if (entry.payload['fold'] === true && isTerminal(entry))
        (this.#closed ??= new Set()).add(entry.record.path as string)
    }
  }

  get next(): Entry | undefined {
    return this.#entries[this.#next]
  }

  advance(): void {
    this.#next++
  }

  /** Whether the fold at this path has finished. */
  closes(path: string): boolean {
    return this.#closed?.has(path) ?? false
  }

  /** Whether there are records inside the fold at this path. */
  opens(path: string): boolean {
    return this.#opened?.has(path) ?? false
  }

  /** Whether a path stands inside a finished fold. */
  folds(path: string): boolean {
    if (this.#closed === undefined) return false
    for (let cut = path.lastIndexOf('/'); cut > 0; cut = path.lastIndexOf('/', cut - 1))
      if (this.#closed.has(path.slice(0, cut))) return true
    return false
  }
}
