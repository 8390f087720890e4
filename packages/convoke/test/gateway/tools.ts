import { z } from 'zod'
import { tool, type EffectClass, type Tool, type ToolContext } from '../../src/gateway/tool.ts'

export interface Pay {
  readonly amount: string
}
export interface Paid {
  readonly id: number
}

/** A tool of each class over the counterpart; small time-outs and delays. */
export function payTool(
  url: string,
  effect: EffectClass,
  more: { timeoutMs?: number; attempts?: number } = {},
): Tool<Pay, Paid> {
  const send = async (input: Pay, ctx: ToolContext): Promise<unknown> => {
    const response = await ctx.fetch(`${url}/do`, {
      method: effect === 'read' ? 'GET' : 'POST',
      headers: { 'idempotency-key': ctx.idempotencyKey, 'content-type': 'application/json' },
      ...(effect === 'read' ? {} : { body: JSON.stringify(input) }),
    })
    if (!response.ok) throw new Error(`status ${response.status}`)
    return response.json()
  }
  return tool({
    name: 'erp.pay',
    description: 'pays',
    inputSchema: z.object({ amount: z.string() }),
    outputSchema: z.object({ id: z.number() }),
    effect,
    timeoutMs: more.timeoutMs ?? 300,
    maxResultBytes: 100_000,
    retry: { attempts: more.attempts ?? 4, delayMs: 5 },
    ...(effect === 'reconcilable'
      ? {
          reconcile: async (_input: Pay, ctx: ToolContext) => {
            const state = (await (await ctx.fetch(`${url}/state?key=${ctx.idempotencyKey}`)).json()) as {
              happened: boolean
              id: number
            }
            return state.happened ? { happened: true as const, value: { id: state.id } } : { happened: false as const }
          },
        }
      : {}),
    execute: send,
  })
}
