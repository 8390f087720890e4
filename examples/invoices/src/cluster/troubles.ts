import { setTimeout as sleep } from 'node:timers/promises'
import type { ClusterTruth, Trouble } from './matrix.ts'
import type { Cluster } from './parts.ts'

// What can go wrong with a cluster, each as one trouble: a worker that is killed where it stands, an engine, a database,
// all at once, a node of three.

/** Kills a worker at every occurrence wanted of every point. */
export function atPoints(truth: ClusterTruth, which: 'first' | 'sample' | 'all'): Trouble[] {
  const troubles: Trouble[] = []
  for (const [point, count] of [...truth.points].sort(([a], [b]) => a.localeCompare(b))) {
    const all = Array.from({ length: count }, (_, i) => i + 1)
    const wanted = which === 'all' ? all : which === 'first' ? [1] : [...new Set([1, Math.ceil(count / 2), count])]
    for (const n of wanted) troubles.push({ name: `${point}#${n}`, crashAt: `${point}#${n}` })
  }
  return troubles
}

/** Waits until the work has begun, so that there is something to interrupt. */
async function underWay(cluster: Cluster, calls: number): Promise<void> {
  for (let tries = 0; tries < 600; tries++) {
    const summary = (await (await fetch(new URL('/audit/summary', cluster.erp.url))).json()) as { calls: number }
    if (summary.calls >= calls) return
    await sleep(25)
  }
  throw new Error(`the ERP did not hear of ${calls} calls`)
}

/** `calls`: how many the ERP has had when the trouble begins; the same for each, so that it can be repeated. */
export function toServers(calls: number): Trouble[] {
  return [
    {
      name: `kill -9 of the engine after ${calls} calls`,
      async act(cluster) {
        await underWay(cluster, calls)
        await cluster.servers.restate?.kill()
        await sleep(500)
        await cluster.servers.restate?.start()
      },
    },
    {
      name: `immediate stop of Postgres after ${calls} calls`,
      async act(cluster) {
        await underWay(cluster, calls)
        await cluster.servers.postgres.stop('immediate')
        await sleep(500)
        await cluster.servers.postgres.restart()
      },
    },
    {
      name: `kill -9 of Postgres after ${calls} calls`,
      async act(cluster) {
        await underWay(cluster, calls)
        await cluster.servers.postgres.kill()
        await cluster.servers.postgres.restart()
      },
    },
    {
      name: `kill -9 of everything at once after ${calls} calls`,
      async act(cluster) {
        await underWay(cluster, calls)
        for (const worker of cluster.workers) worker.kill('SIGKILL')
        await Promise.all([cluster.servers.postgres.kill(), cluster.servers.restate?.kill()])
        await Promise.all([cluster.servers.postgres.restart(), cluster.servers.restate?.start()])
        await cluster.addWorker()
      },
    },
    {
      name: `a worker stopped past its lease after ${calls} calls, and going on`,
      async act(cluster) {
        await underWay(cluster, calls)
        cluster.workers[0]?.kill('SIGSTOP')
        await sleep(4_000)
        cluster.workers[0]?.kill('SIGCONT')
      },
    },
  ]
}

/** One node of a cluster that writes everything twice. */
export function toOneNode(calls: number): Trouble[] {
  return [0, 1, 2].map((n) => ({
    name: `kill -9 of node ${n} of three after ${calls} calls`,
    async act(cluster) {
      await underWay(cluster, calls)
      const node = cluster.servers.restate?.nodes[n]
      await node?.kill()
      await sleep(8_000)
      await node?.start()
    },
  }))
}
