export { inspectStore, type StoreFacts, type StoreWorker } from './ledger-sqlite/inspect.ts'
export { openSqliteLedger, type SqliteLedgerOptions } from './ledger-sqlite/index.ts'
export { checkSqlite } from './ledger-sqlite/schema.ts'
