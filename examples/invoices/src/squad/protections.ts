/**
 * What stands between a model that was taken over and the world. All of it, always; tests leave one after the other out, to
 * see what the others catch.
 */
export interface Protections {
  /** Each role has its own tools, with constraints on their arguments; the run as a whole has bounds. */
  readonly scopes: boolean
  /** Tools say what they accept, and where their answers come from. */
  readonly labels: boolean
  /** A payment that a model signed is held against the books before it counts as trusted. */
  readonly endorsement: boolean
  readonly policy: boolean
}

export const everything: Protections = { scopes: true, labels: true, endorsement: true, policy: true }
