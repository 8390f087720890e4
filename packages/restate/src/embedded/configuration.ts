import type { EmbeddedRestateOptions } from './server.ts'

export interface NodePorts {
  /** Between nodes. */
  readonly fabric: number
  readonly ingress: number
  readonly admin: number
}

/** One node's restate.toml. Small, quiet, and with the settings that docs/deploy.md asks of a real server. */
export function configuration(index: number, all: readonly NodePorts[], options: EmbeddedRestateOptions): string {
  const { fabric, ingress, admin } = all[index] as NodePorts
  const isCluster = all.length > 1
  const addresses = all.map((ports) => `"http://127.0.0.1:${ports.fabric}"`).join(', ')
  return `
cluster-name = "convoke-embedded"
node-name = "node${index + 1}"
auto-provision = ${index === 0}
default-replication = ${isCluster ? 2 : 1}
default-num-partitions = ${options.partitions ?? 4}
listen-mode = "tcp"
bind-address = "127.0.0.1:${fabric}"
advertised-address = "http://127.0.0.1:${fabric}"
disable-telemetry = true
rocksdb-total-memory-size = "192 MiB"
shutdown-timeout = "5s"
log-filter = "warn,restate=info"
log-format = "compact"
log-disable-ansi-codes = true

[metadata-client]
addresses = [${addresses}]

[ingress]
bind-address = "127.0.0.1:${ingress}"
advertised-address = "http://127.0.0.1:${ingress}"

[admin]
bind-address = "127.0.0.1:${admin}"
disable-web-ui = true

# A run is driven for as long as it has something to do, and says nothing to the engine meanwhile.
[worker.invoker]
inactivity-timeout = "1day"
abort-timeout = "1day"
http2-keep-alive-interval = "4s"
http2-keep-alive-timeout = "4s"

[log-server]
rocksdb-disable-wal-fsync = ${options.fsync === false}

${options.settings ?? ''}
`
}
