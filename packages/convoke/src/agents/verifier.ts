import type { Outcome } from '../contracts/outcome.ts'
import type { Role } from '../contracts/role.ts'
import type { ApproveOptions } from '../gateway/decide.ts'

/** What a verifier says. */
export interface Verdict {
  readonly ok: boolean
  readonly problems: readonly string[]
  /** Role, function or group that said so. */
  readonly by: string
}

/** A person as verifier: the gateway shows the value and asks. */
export interface Person extends ApproveOptions {
  readonly kind: 'person'
  readonly question: string
}

/** A role as verifier when its input is not just the value, or its output is not `{ ok, problems }`. */
export interface RoleVerifier<T, I, O> {
  readonly role: Role<I, O>
  /** What the role is given; the value unless said. */
  readonly input?: (value: T, outcome: Outcome<T> | undefined) => I
  /** Reads the role's output; `{ ok, problems }` unless said. */
  readonly verdict?: (output: O) => { readonly ok: boolean; readonly problems?: readonly string[] | undefined }
  readonly agent?: string
}

/** `true` and an empty list mean that it passes; everything else is what is wrong. */
export type FunctionVerdict =
  boolean | string | readonly string[] | { readonly ok: boolean; readonly problems?: readonly string[] | undefined }

/** A verifier that is no code. */
export type Judge<T> =
  | Role<T, { readonly ok: boolean; readonly problems?: readonly string[] | undefined }>
  | RoleVerifier<T, never, never>
  | Person

/** Judges a value before the run moves on: a role, code, or a person. */
export type Verifier<T> =
  Judge<T> | ((value: T, outcome: Outcome<T> | undefined) => FunctionVerdict | Promise<FunctionVerdict>)

/** A person who is asked whether the value may go on. `to` is the group; times in milliseconds. */
export function person(question: ApproveOptions & { readonly question: string }): Person {
  return { kind: 'person', ...question }
}

/** Lets a role with an input or output of its own judge. */
export function judgedBy<T, I, O>(verifier: RoleVerifier<T, I, O>): Verifier<T> {
  return verifier as unknown as RoleVerifier<T, never, never>
}
