export { openPostgresLedger, type PostgresLedgerOptions } from './ledger/open.ts'
export { postgresDispatcher, type PostgresDispatcherOptions } from './dispatch/dispatcher.ts'
export { inspectEngine, openEngine, type EngineFinding, type PostgresEngineOptions } from './dispatch/engine.ts'
export { inspectStore, migrateStore, openStore } from './store.ts'
