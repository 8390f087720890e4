// Read-only views over a ledger, and how they are shown to a person: what the command line is made of.
export { actsOf, renderActs, type Act } from './query/acts.ts'
export {
  auditError,
  exportCheckpoint,
  placeOf,
  verifyLedger,
  type AuditOptions,
  type AuditReport,
  type Finding,
  type FindingKind,
} from './query/audit.ts'
export { isSigned, keyIdOf, newSigningKey, parseCheckpoint, publicKeyOf, type Checkpoint } from './query/checkpoint.ts'
export { dependentsOf, type Dependent } from './query/dependents.ts'
export { planOfFork, type ForkPlan } from './query/fork.ts'
export { brief, count, dollars, duration, exact, line, moment } from './query/format.ts'
export { renderReport } from './query/report-text.ts'
export type { ConclusionFact, ModelFact, RoleFact, RunReport } from './query/report.ts'
export type { ActionFact, PolicyFact } from './query/report-calls.ts'
export {
  exportRun,
  parseRunExport,
  runExportText,
  type ExportedBlob,
  type ExportOptions,
  type LeftOut,
  type RunExport,
} from './query/run-export.ts'
export { runExportError, verifyRunExport, type RunVerification, type RunVerifyOptions } from './query/run-verify.ts'
export type { RelabelStory, Voucher } from './query/relabelled.ts'
export { showRun, type ShownRun, type ShownStep, type Waiting } from './query/show.ts'
export { type Style } from './query/style.ts'
export { type Usage } from './query/usage.ts'
export { why, type Why, type WhyAttempt, type WhyOptions, type WhyStep } from './query/why.ts'
export { changeLine, renderWhy, spent, waitsFor } from './query/why-text.ts'
