import type pg from 'pg'
import { PgBoss } from 'pg-boss'
import { ConvokeError, isConvokeError, type ReadyRun, type StreamRef } from 'convoke/adapter'
import { fromText, toText } from '../ledger/text.ts'
import { listen, openStatements } from './connection.ts'

// The queue between workers, on pg-boss. A job says no more than "this run was ready a moment ago", once for each run
// (policy `short`: one queued job a key), and is deleted as it is taken. So a job that is lost, late or taken by a
// worker that dies costs nothing but the time until the next sweep; no expiry or heartbeat of a job means anything.

const name = 'runs'

/** Beside the ledger's own, so that two stores in one database do not mix. */
export function queueSchemaOf(schema: string): string {
  return `${schema}_queue`
}

export interface RunQueue {
  /** Puts runs up for whoever has a place; those that are queued already stay as they are. */
  offer(runs: readonly ReadyRun[]): Promise<void>
  /** Takes runs by priority, then age. Tenants in `without` are passed over. */
  take(limit: number, without: readonly string[]): Promise<StreamRef[]>
  /** Names the tenants that have runs due at `now`; undefined when the ledger's tables are not in this database. */
  tenants(now: number): Promise<string[] | undefined>
  close(): Promise<void>
}

export interface QueueOptions {
  readonly config: pg.ClientConfig
  /** Of the ledger; the queue has a schema beside it. */
  readonly schema: string
  /** Called when somebody offered something, here or elsewhere. */
  readonly onBell: () => void
  /** Told what the library says went wrong in its own upkeep. */
  readonly onTrouble: (error: Error) => void
}

/** @throws ENGINE_UNREACHABLE when the database cannot be reached or the queue's tables not be made */
export async function openRunQueue({ config, schema, onBell, onTrouble }: QueueOptions): Promise<RunQueue> {
  const statements = openStatements({ ...config, application_name: 'convoke dispatcher' }, 3)
  const queueSchema = queueSchemaOf(schema)
  const boss = new PgBoss({ db: statements, schema: queueSchema, schedule: false })
  boss.on('error', onTrouble)
  try {
    await boss.start()
    await boss.createQueue(name, {
      policy: 'short',
      retryLimit: 0,
      expireInSeconds: 60,
      retentionSeconds: 3_600,
      deleteAfterSeconds: 60,
    })
  } catch (error) {
    await statements.close()
    throw unreachable(error)
  }
  const channel = `${queueSchema}_${name}`
  const deaf = listen({ ...config, application_name: 'convoke dispatcher' }, channel, onBell)

  return {
    async offer(runs) {
      const jobs = runs.map(({ ref, priority }) => ({
        data: { tenant: toText(ref.tenant), stream: toText(ref.stream) },
        singletonKey: toText(`${ref.tenant} ${ref.stream}`),
        group: { id: toText(ref.tenant) },
        priority: Math.max(-1_000_000, Math.min(1_000_000, Math.round(priority))),
      }))
      const made = await boss.insert(name, jobs, { returnId: true })
      if (made !== null && made.length > 0) await statements.executeSql('SELECT pg_notify($1, $2)', [channel, ''])
    },
    async take(limit, without) {
      const jobs = await boss.fetch<{ tenant: string; stream: string }>(name, {
        batchSize: limit,
        ...(without.length === 0 ? {} : { ignoreGroups: without.map(toText) }),
      })
      const ids = jobs.map(({ id }) => id)
      // Whoever takes them need not wait for that: what is left of a job means nothing.
      if (ids.length > 0) boss.deleteJob(name, ids).catch(onTrouble)
      return jobs.map(({ data }) => ({ tenant: fromText(data.tenant), stream: fromText(data.stream) }))
    },
    async tenants(now) {
      const table = `"${schema.replaceAll('"', '""')}".runs`
      try {
        const { rows } = await statements.executeSql(`SELECT DISTINCT tenant FROM ${table} WHERE due <= $1`, [now])
        return rows.map(({ tenant }) => fromText(tenant as string))
      } catch (error) {
        if ((error as { code?: string }).code === '42P01' || (error as { code?: string }).code === '3F000')
          return undefined
        throw error
      }
    },
    async close() {
      await deaf()
      await boss.stop({ graceful: false }).catch(onTrouble)
      await statements.close()
    },
  }
}

function unreachable(cause: unknown): ConvokeError {
  if (isConvokeError(cause)) return cause
  const { code } = cause as { code?: unknown }
  return new ConvokeError(
    'ENGINE_UNREACHABLE',
    `the queue of the workers cannot be used: ${(cause as Error).message}`,
    {
      details: typeof code === 'string' ? { sqlstate: code } : {},
      next: 'check the URL; a role that may not create the queue needs `convoke migrate` by one that may, and grants',
      cause,
    },
  )
}
