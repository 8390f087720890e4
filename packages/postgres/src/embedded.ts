export { startEmbeddedPostgres, type EmbeddedOptions, type EmbeddedPostgres } from './embedded/server.ts'
