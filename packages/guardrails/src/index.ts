export { emails, personalDataGuardrail, personalRule, type PersonalKind, type PersonalOptions } from './personal.ts'
export type { RailOptions } from './rail.ts'
export { findSecrets, secretRule, secretRules, secretsGuardrail } from './secrets.ts'
