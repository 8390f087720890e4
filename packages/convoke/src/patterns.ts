export { planRequest, planSchema } from './patterns/plan-schema.ts'
export type { Plan, PlanRequest } from './patterns/plan.ts'
export { mapBounded, mapBoundedSettled, sequence, type Flow, type Stage } from './patterns/sequence.ts'
export { supervise, type Supervised, type SuperviseOptions } from './patterns/supervise.ts'
