/**
 * Every error code, with the one decision that whoever catches it has to make. Codes are API: each has a page in
 * docs/errors/ and a test that cites it.
 *
 * - `usage`: the caller handed in something wrong; nothing was done
 * - `conflict`: somebody else was first; look again
 * - `lost`: this writer no longer owns the run; stop, another goes on
 * - `stopped`: a run may not go on until a person decides
 * - `failed`: the work itself failed; the run records it
 * - `denied`: a rule forbids it
 * - `limit`: a budget, a bound or a deadline was reached
 * - `unreachable`: a part outside did not answer; trying again may help
 * - `corrupt`: what was stored is not what was written
 */
export type Handling =
  'usage' | 'conflict' | 'lost' | 'stopped' | 'failed' | 'denied' | 'limit' | 'unreachable' | 'corrupt'

export const codes = {
  // values and definitions
  NOT_CANONICAL: { handling: 'usage', says: 'a value cannot be written as canonical JSON' },
  JSON_INVALID: { handling: 'usage', says: 'a text is not valid JSON' },
  INPUT_INVALID: { handling: 'usage', says: 'an input does not fit its schema' },
  NAME_INVALID: { handling: 'usage', says: 'a name or key cannot stand in a path' },
  TENANT_MISSING: { handling: 'usage', says: 'a call names no tenant' },
  DEFINITION_INVALID: { handling: 'usage', says: 'a workflow, role, agent or tool is defined wrongly' },
  CONFIG_MISSING: { handling: 'usage', says: 'no configuration file was found' },
  CONFIG_INVALID: { handling: 'usage', says: 'the configuration file cannot be used' },
  WORKFLOW_UNKNOWN: { handling: 'usage', says: 'no workflow of that name is defined' },
  RUN_UNKNOWN: { handling: 'usage', says: 'no run has that id' },
  RECORD_UNKNOWN: { handling: 'usage', says: 'no record stands at that place' },
  APPROVAL_UNKNOWN: { handling: 'usage', says: 'no approval has that id' },
  ROLE_UNFILLED: { handling: 'usage', says: 'no agent fills the role' },
  TOOL_UNKNOWN: { handling: 'usage', says: 'no tool of that name is within reach' },
  STORE_UNUSABLE: { handling: 'usage', says: 'the store cannot be opened or written' },
  STORE_NEWER: { handling: 'usage', says: 'a newer version of Convoke wrote the store' },
  ADAPTER_MISSING: { handling: 'usage', says: 'the package for a store or an engine is not installed' },
  ENGINE_UNKNOWN: { handling: 'usage', says: 'no engine of that name or address is known' },
  ENGINE_UNREACHABLE: { handling: 'unreachable', says: 'the engine that hands out runs does not answer' },
  STORE_OUTDATED: { handling: 'usage', says: 'the store lacks steps of the schema that this build needs' },
  STORE_UNREACHABLE: { handling: 'unreachable', says: 'the server of the store does not answer' },
  STORE_DENIED: { handling: 'usage', says: 'the server of the store does not let this user in, or do that' },
  STORE_READ_ONLY: { handling: 'usage', says: 'the server of the store takes no writes' },
  STORE_POOLED: { handling: 'usage', says: 'the way to the store leads through a pooler that keeps no session' },
  POSTGRES_TOO_OLD: { handling: 'usage', says: 'this Postgres is older than the ledger needs' },
  SQLITE_UNSAFE: { handling: 'usage', says: 'this SQLite build can lose committed data' },
  // ledger
  POSITION_STALE: { handling: 'lost', says: 'another record already stands at that position' },
  EPOCH_STALE: { handling: 'lost', says: 'a newer worker has taken over the stream' },
  LEASE_EXPIRED: { handling: 'lost', says: 'the lease of this worker has passed' },
  RUN_OWNED: { handling: 'conflict', says: 'a live worker drives the run' },
  INBOX_ADVANCED: { handling: 'conflict', says: 'messages came in while the run was about to park' },
  UNIQUE_TAKEN: { handling: 'conflict', says: 'a unique key already belongs to another' },
  COUNTER_EXCEEDED: { handling: 'limit', says: 'a shared counter would pass its limit' },
  RECORD_UNSUPPORTED: {
    handling: 'stopped',
    says: 'a record is of a version or critical type this reader does not know',
  },
  LEDGER_CORRUPT: { handling: 'corrupt', says: 'stored records do not match their hashes' },
  LEDGER_FULL: { handling: 'unreachable', says: 'the disk is full' },
  LEDGER_BUSY: { handling: 'unreachable', says: 'the store is locked by another process' },
  LEDGER_CLOSED: { handling: 'unreachable', says: 'the ledger is closed' },
  LEDGER_IO: { handling: 'unreachable', says: 'the store could not be read or written' },
  BLOB_MISSING: { handling: 'corrupt', says: 'a blob that a record refers to is not there' },
  RUN_ARCHIVED: { handling: 'usage', says: 'the run was archived; its records are in a file' },
  RUN_NEEDED: { handling: 'conflict', says: 'a run cannot be archived while something still needs it' },
  ARCHIVE_INVALID: { handling: 'corrupt', says: 'an archive is not what was taken out of the store' },
  // runs
  RUN_EXISTS: { handling: 'conflict', says: 'a run with that id has another workflow or input' },
  RUN_FAILED: { handling: 'failed', says: 'the run failed' },
  RUN_CANCELLED: { handling: 'failed', says: 'the run was cancelled' },
  REPLAY_DIVERGED: { handling: 'stopped', says: 'the code does not do what its record says' },
  WORKFLOW_CHANGED: { handling: 'stopped', says: 'the code of the workflow differs from the one the run began with' },
  STEP_REPEATED: { handling: 'usage', says: 'a name repeats while its predecessor is unfinished' },
  STEP_UNAWAITED: { handling: 'failed', says: 'the workflow returned with a step it never awaited' },
  STEP_FAILED: { handling: 'failed', says: 'the body of a step threw' },
  STEP_TIMEOUT: { handling: 'limit', says: 'a step took longer than it may' },
  SCOPE_CANCELLED: { handling: 'failed', says: 'the scope of a step was given up' },
  ATTEMPTS_EXHAUSTED: { handling: 'failed', says: 'every alternative of an attempt was rejected' },
  COMPENSATION_FAILED: { handling: 'stopped', says: 'an effect could not be taken back' },
  VERIFICATION_FAILED: { handling: 'failed', says: 'a verifier rejected an outcome' },
  PLAN_INVALID: { handling: 'failed', says: 'a plan is not an acyclic graph of tasks for known roles' },
  DEADLINE_PASSED: { handling: 'limit', says: 'a deadline passed' },
  // contracts and agents
  OUTPUT_INVALID: { handling: 'failed', says: 'an answer does not fit its schema after the allowed repairs' },
  EVIDENCE_INSUFFICIENT: {
    handling: 'failed',
    says: 'a conclusion is not supported by its evidence after the allowed repairs',
  },
  AGENT_EXHAUSTED: { handling: 'limit', says: 'an agent used up its turns without an answer' },
  ASK_NOT_ALLOWED: { handling: 'denied', says: 'a role asked for a role it may not ask' },
  BUDGET_EXCEEDED: { handling: 'limit', says: 'the budget is used up' },
  // models
  MODEL_UNREACHABLE: { handling: 'unreachable', says: 'the model provider did not answer' },
  MODEL_RATE_LIMITED: { handling: 'unreachable', says: 'the model provider asks to wait' },
  MODEL_REFUSED: { handling: 'failed', says: 'the model provider refused the request' },
  MODEL_UNKNOWN: { handling: 'usage', says: 'no model of that name is configured' },
  // gateway
  TOOL_INPUT_INVALID: { handling: 'usage', says: 'the arguments of a tool call do not fit its schema' },
  TOOL_OUTPUT_INVALID: { handling: 'failed', says: 'the answer of a tool does not fit its schema' },
  TOOL_FAILED: { handling: 'failed', says: 'a tool answered with an error' },
  TOOL_UNREACHABLE: { handling: 'unreachable', says: 'a tool did not answer' },
  TOOL_TIMEOUT: { handling: 'limit', says: 'a tool took longer than it may' },
  TOOL_RESULT_TOO_LARGE: { handling: 'limit', says: 'the answer of a tool is larger than allowed' },
  TOOL_CRASHED: { handling: 'failed', says: 'the thread or process of a tool ended before it answered' },
  TOOL_QUARANTINED: { handling: 'denied', says: 'a tool of a server is not what a person accepted' },
  SCOPE_DENIED: { handling: 'denied', says: 'the role may not use the tool' },
  FLOW_DENIED: { handling: 'denied', says: 'a tool does not accept what the call rests on' },
  POLICY_DENIED: { handling: 'denied', says: 'a rule of the policy forbids the call' },
  GUARDRAIL_DENIED: { handling: 'denied', says: 'a guardrail forbids the call' },
  BUSINESS_KEY_TAKEN: { handling: 'conflict', says: 'another call already has that business key' },
  MAYBE_EXECUTED: { handling: 'stopped', says: 'it is unknown whether a call took effect; a person must decide' },
  SECRET_MISSING: { handling: 'usage', says: 'a secret has no value' },
  SECRET_STORE_UNSAFE: { handling: 'usage', says: 'others can read or change the file of secrets' },
  NETWORK_DENIED: { handling: 'denied', says: 'an address may not be called' },
  OPENAPI_INVALID: { handling: 'usage', says: 'an OpenAPI document cannot be used' },
  OPENAPI_REF_EXTERNAL: { handling: 'usage', says: 'an OpenAPI document refers to another one' },
  OPENAPI_UNSUPPORTED: { handling: 'usage', says: 'an OpenAPI operation cannot be made into a tool' },
  RUN_HALTED: { handling: 'stopped', says: 'a person stopped the run, the role or everything' },
  EFFECT_HELD: { handling: 'stopped', says: 'a fork holds an effect that its ancestor already made' },
  // approvals
  APPROVAL_REJECTED: { handling: 'denied', says: 'a person rejected the action' },
  APPROVAL_EXPIRED: { handling: 'limit', says: 'nobody decided in time' },
  APPROVAL_DECIDED: { handling: 'conflict', says: 'the approval was already decided' },
  APPROVAL_MISMATCH: { handling: 'denied', says: 'the decision is about other bytes than the action' },
  // audit
  AUDIT_FAILED: { handling: 'corrupt', says: 'the ledger does not match what was signed' },
  // command line
  NODE_TOO_OLD: { handling: 'usage', says: 'this Node.js is older than the command needs' },
  USAGE: { handling: 'usage', says: 'the command line cannot be understood' },
  INTERRUPTED: { handling: 'stopped', says: 'interrupted; nothing is lost' },
  UNEXPECTED: { handling: 'failed', says: 'an error without a code of its own, which should not happen' },
  PORT_IN_USE: { handling: 'usage', says: 'the port is taken' },
} as const

/** Holds every entry to its shape; `satisfies` on the export itself is more than isolatedDeclarations can print. */
type Described<T extends Record<string, { handling: Handling; says: string }>> = T

export type Code = keyof Described<typeof codes>

const forbidden: ReadonlySet<string> = new Set(['SCOPE_DENIED', 'FLOW_DENIED', 'POLICY_DENIED', 'GUARDRAIL_DENIED'])

/** Whether a code says that a call was forbidden by what the app decided beforehand, and not by a person or an address. */
export function isForbidden(code: string): boolean {
  return forbidden.has(code)
}
