export { startProxy, type Proxy, type ProxyCounts } from './embedded/proxy.ts'
export { startEmbeddedPostgres, type EmbeddedOptions, type EmbeddedPostgres } from './embedded/server.ts'
