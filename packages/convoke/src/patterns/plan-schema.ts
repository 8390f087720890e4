import type { StandardSchemaV1 } from '@standard-schema/spec'
import { z } from 'zod'
import type { Plan, PlanRequest } from './plan.ts'

/** What a planner gives. */
export const planSchema: z.ZodType<Plan, Plan> = z.strictObject({
  tasks: z.array(
    z.strictObject({
      id: z.string().describe('names the task: letters, digits, and . _ -'),
      role: z.string().describe('one of the roles of the request'),
      input: z
        .unknown()
        .describe('fits the input schema of the role; { "$task": id, "pointer": "/…" } stands for a part of a result'),
      needs: z.array(z.string()).describe('ids of the tasks that must have finished first'),
    }),
  ),
  reason: z.string().optional().describe('why this way, in a sentence'),
}) as unknown as z.ZodType<Plan, Plan>

const known = z.strictObject({ id: z.string(), role: z.string(), input: z.unknown(), value: z.unknown() })
const failed = z.strictObject({
  id: z.string(),
  role: z.string(),
  input: z.unknown(),
  error: z.looseObject({ code: z.string(), message: z.string() }),
})

/** What a planner for goals of a kind takes. */
export function planRequest<S extends StandardSchemaV1>(
  goal: S,
): z.ZodType<PlanRequest<StandardSchemaV1.InferOutput<S>>, PlanRequest<StandardSchemaV1.InferInput<S>>> {
  const request = z.strictObject({
    goal: goal instanceof z.ZodType ? goal : foreign(goal),
    roles: z.array(z.looseObject({ name: z.string() })),
    finished: z.array(known),
    failed: z.array(failed),
    previous: planSchema.optional(),
    problems: z.array(z.string()).optional(),
  })
  return request as unknown as ReturnType<typeof planRequest<S>>
}

/** A schema of another library inside one of ours. */
function foreign(schema: StandardSchemaV1): z.ZodType {
  return z.unknown().transform(async (value, context) => {
    const result = await schema['~standard'].validate(value)
    if (result.issues === undefined) return result.value
    for (const issue of result.issues) context.addIssue({ code: 'custom', message: issue.message })
    return z.NEVER
  })
}
