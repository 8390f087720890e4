export { agent, type Agent, type CodeAgentDefinition, type LoopAgentDefinition } from './agents/define.ts'
export { answer, type Answer, type AnswerParts } from './agents/answer.ts'
export type { AgentContext, Generated, GenerateRequest } from './agents/context.ts'
export type { Budget } from './agents/meter.ts'
export { attemptVerifier, type AgentRun, type VerifiedAttempt } from './agents/agent-run.ts'
export type { Segment, Shown } from './agents/segment.ts'
export { judgedBy, person, type Verdict, type Verifier } from './agents/verifier.ts'
export type { AskOptions } from './agents/work.ts'
export type { App, StartOptions } from './app/app.ts'
export { boardKey, signal, workflow, type WorkflowOptions } from './app/define.ts'
export type { ForkOptions } from './app/fork.ts'
export { outputsOf } from './app/rooms.ts'
export type { RunEvent, RunHandle } from './app/handle.ts'
export type { Run } from './app/run.ts'
export { engineModule, openStoreAt, schemeOf, shownAddress, storeModule } from './connect.ts'
export { convoke, defineConfig, type ConvokeOptions } from './convoke.ts'
export { archiveFolder } from './archive-folder.ts'
export type { ArchiveOptions, ArchivePlace } from './archive-store.ts'
export type { CopyOptions } from './copy-store.ts'
export type { Claim, Denied, Evidence, Outcome, StatedClaim } from './contracts/outcome.ts'
export { role, squad, type AnyRole, type Role } from './contracts/role.ts'
export { canonicalize, decode } from './core/canonical.ts'
export { codes, type Code, type Handling } from './core/codes.ts'
export { ConvokeError, isConvokeError, type ErrorData } from './core/errors.ts'
export type { Json, JsonObject } from './core/json.ts'
export type { ApprovalRow, RunRow, RunStatus } from './core/projections.ts'
export type { LedgerRecord } from './core/record.ts'
export { isSecretRef, redactor, secret, type RedactionRule, type SecretRef } from './core/redact.ts'
export { costOf } from './costs/cost.ts'
export {
  archiveRuns,
  copyStore,
  decideApproval,
  dryRun,
  escalateApproval,
  forkRun,
  liftHalt,
  orderHalt,
  recordToolAcceptance,
  resolveModel,
  restoreRuns,
  standingHalts,
  toolAcceptances,
} from './deferred.ts'
export { diffActions } from './gateway/action.ts'
export type { GuardContext, GuardedCall, GuardedText, Guardrail, Verdict as GuardVerdict } from './gateway/guardrail.ts'
export type { Finding as TextFinding, GuardPoint, TextRule } from './gateway/guard-text.ts'
export type { JudgeOptions } from './gateway/judge-verdict.ts'
export { modelJudge } from './gateway/model-judge.ts'
export { schemaGuard, type SchemaGuardOptions } from './gateway/schema-guard.ts'
export { policy, type Policy, type PolicyRule } from './policy/policy.ts'
export { envSecrets, firstOf } from './gateway/secrets.ts'
export {
  tool,
  type AnyTool,
  type EffectClass,
  type Reconciled,
  type Tool,
  type ToolContext,
  type ToolLabels,
  type ToolRetry,
} from './gateway/tool.ts'
export { fromAiSdk } from './models/from-ai-sdk.ts'
export { keyHint } from './models/keys.ts'
export type {
  EngineModule,
  EngineOptions,
  Finding,
  MigrateOptions,
  Migrated,
  StoreModule,
  StoreOptions,
} from './ports/adapters.ts'
export type { Dispatcher } from './ports/dispatcher.ts'
export type { Ledger } from './ports/ledger.ts'
export type { NetworkRules } from './ports/network.ts'
export type { Secrets } from './ports/secrets.ts'
export type { Message, Model, ModelRequest, ModelResponse, Part } from './ports/model.ts'
export type { DurableRun, StepContext, StepOptions } from './replay/durable-run.ts'
export type { AnyWorkflow, BoardKey, Signal, Workflow } from './replay/workflow.ts'
export { setAt } from './app/pointer.ts'
export { parseStrict } from './core/strict-json.ts'
export { inboxStream, isEnded, runStream } from './core/projections.ts'
export { systemClock } from './system/clock.ts'
export { fileSecrets } from './system/file-secrets.ts'
export { systemIds } from './system/ids.ts'
export type { Constraint } from './core/constraint.ts'
export type { Labels } from './core/labels.ts'
export type { Accepts, Tolerance } from './flow/sink.ts'
export type { Grant } from './grants/grant.ts'
export type { DryRunOptions, GuardrailSaid } from './gateway/dry-guard.ts'
export type { House, PolicyAnswer, PolicyCase } from './gateway/dry-run.ts'
export { endorser, type Endorser } from './gateway/endorser.ts'
export type { ToolAcceptance } from './policy/accepted.ts'
export type { Halt, HaltTarget } from './policy/halts.ts'
export type { TransferCount } from './core/transfer.ts'
