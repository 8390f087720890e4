import { createEndpointHandler, handlers, object } from '@restatedev/restate-sdk'
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2'
import type { StreamRef } from 'convoke/adapter'
import { runOf } from './names.ts'

const dayMs = 86_400_000

export interface Invocation {
  readonly run: StreamRef
  /** How often in a row the run was lost on the way here. */
  readonly losses: number
}

export type Handler = (request: Http2ServerRequest, response: Http2ServerResponse) => void

/**
 * The keyed object of runs: one exclusive handler, so that the engine delivers one message of a run at a time.
 *
 * - A drive says nothing to the engine while it works, and work that is awaited here cannot be suspended. So the
 *   inactivity time-out is out of the way; hung workers are found by keep-alive and by the ledger's leases.
 * - `invoked` does not reject. Should a worker die again and again with a run, the message is given up in the end and its
 *   key is free: the ledger still has the run. The engine's default would pause it, and block its key.
 * - Nothing is journaled in between: what a handler did before is not compared with what its next try does.
 */
export function runObject(service: string, invoked: (invocation: Invocation) => Promise<void>): Handler {
  return createEndpointHandler({
    services: [
      object({
        name: service,
        handlers: {
          drive: handlers.object.exclusive({}, async (ctx, input: { readonly losses?: number } | undefined) => {
            await invoked({ run: runOf(ctx.key), losses: input?.losses ?? 0 })
          }),
        },
        options: {
          inactivityTimeout: dayMs,
          abortTimeout: dayMs,
          journalRetention: 0,
          // Longer than any wake is of interest; a message that was forgotten costs a look, no more.
          idempotencyRetention: 600_000,
          enableLazyState: true,
          retryPolicy: {
            initialInterval: 50,
            exponentiationFactor: 2,
            maxInterval: 2_000,
            maxAttempts: 1_000,
            onMaxAttempts: 'kill',
          },
        },
      }),
    ],
    // Its messages are about attempts that end early, which is how takeover looks from here.
    logger: () => undefined,
  })
}
