import { Queue } from '../core/queue.ts'
import type { Claim } from './claim.ts'

/**
 * What workflow code has asked for and what is still to be begun, in the order of asking. Also recorded steps pass
 * through here: those that were delivered, or given up, are passed over.
 */
export class Asked {
  readonly #claims: Queue<Claim> = new Queue()

  get first(): Claim | undefined {
    return this.#claims.first
  }

  get any(): boolean {
    return this.#claims.length > 0
  }

  add(claim: Claim): void {
    this.#claims.push(claim)
  }

  next(): Claim | undefined {
    for (let claim = this.#claims.shift(); claim !== undefined; claim = this.#claims.shift())
      if (claim.state === 'claimed') return claim
    return undefined
  }

  putBack(claim: Claim): void {
    this.#claims.unshift(claim)
  }

  /** Code asks for most steps one after the other: then nothing gathers here while records are gone through. */
  delivered(claim: Claim): void {
    if (this.#claims.first === claim) this.#claims.shift()
  }
}
