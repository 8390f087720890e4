export { openSqliteLedger, type SqliteLedgerOptions } from './ledger-sqlite/index.ts'
