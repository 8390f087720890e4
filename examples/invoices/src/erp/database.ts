/**
 * Owns the ERP's files in its data folder: `erp.sqlite` (with its WAL) and `erp.lock`.
 * 1. At most one process has the folder open: whoever holds an exclusive transaction on erp.lock. The operating system
 *    lets go of it when the process ends in whatever way.
 * 2. What was committed survives power loss (WAL, synchronous=FULL).
 * 3. A payment that stands is the only one of its vendor and invoice: an index, not a check, says so.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { ErpError } from './error.ts'
import { seed } from './seed.ts'

const tables = `
  CREATE TABLE vendors (id TEXT PRIMARY KEY, name TEXT NOT NULL, street TEXT NOT NULL, postcode TEXT NOT NULL,
    city TEXT NOT NULL, country TEXT NOT NULL, vat_id TEXT NOT NULL, iban TEXT NOT NULL, bic TEXT NOT NULL,
    email TEXT NOT NULL, manager_name TEXT NOT NULL, manager_email TEXT NOT NULL, payment_days INTEGER NOT NULL) STRICT;
  CREATE TABLE orders (number TEXT PRIMARY KEY, vendor TEXT NOT NULL REFERENCES vendors, date TEXT NOT NULL,
    currency TEXT NOT NULL, net INTEGER NOT NULL, tax INTEGER NOT NULL) STRICT;
  CREATE TABLE order_lines (po TEXT NOT NULL REFERENCES orders, line INTEGER NOT NULL, article TEXT NOT NULL,
    description TEXT NOT NULL, quantity INTEGER NOT NULL, unit_price INTEGER NOT NULL, tax_percent TEXT NOT NULL,
    net INTEGER NOT NULL, PRIMARY KEY (po, line)) STRICT;
  CREATE TABLE receipts (po TEXT NOT NULL, number TEXT NOT NULL, date TEXT NOT NULL, line INTEGER NOT NULL,
    quantity INTEGER NOT NULL, PRIMARY KEY (number, line), FOREIGN KEY (po, line) REFERENCES order_lines) STRICT;
  CREATE TABLE prices (article TEXT NOT NULL, vendor TEXT NOT NULL REFERENCES vendors, valid_from TEXT NOT NULL,
    unit_price INTEGER NOT NULL, currency TEXT NOT NULL, source TEXT NOT NULL,
    PRIMARY KEY (article, vendor, valid_from)) STRICT;
  CREATE TABLE invoices (vendor TEXT NOT NULL REFERENCES vendors, number TEXT NOT NULL, type TEXT NOT NULL, date TEXT,
    po TEXT, amount INTEGER NOT NULL, currency TEXT NOT NULL, document TEXT, registered_at INTEGER NOT NULL, run TEXT,
    PRIMARY KEY (vendor, number)) STRICT;
  CREATE TABLE payments (seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, invoice TEXT NOT NULL,
    po TEXT NOT NULL REFERENCES orders, vendor TEXT NOT NULL REFERENCES vendors, amount INTEGER NOT NULL CHECK (amount > 0),
    currency TEXT NOT NULL, iban TEXT, key TEXT NOT NULL, run TEXT, at INTEGER NOT NULL, reversed_at INTEGER) STRICT;
  CREATE UNIQUE INDEX payments_standing ON payments (vendor, invoice) WHERE reversed_at IS NULL;
  CREATE TABLE replies (key TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, status INTEGER NOT NULL,
    problem INTEGER NOT NULL, body TEXT NOT NULL, effect TEXT, at INTEGER NOT NULL) STRICT;
  CREATE TABLE audit (seq INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL, method TEXT NOT NULL,
    path TEXT NOT NULL, key TEXT, run TEXT, applied TEXT NOT NULL, status INTEGER NOT NULL, effect TEXT) STRICT;
`
const version = 1

export interface ErpDatabase {
  db: DatabaseSync
  close(): void
}

/**
 * Opens the folder, makes and fills the database where there is none.
 * Throws ErpError `DATA_IN_USE` when another process still has the folder after `waitMs`, `DATA_VERSION` for a
 * database of another version.
 */
export async function openErpDatabase(dataDir: string, waitMs: number): Promise<ErpDatabase> {
  mkdirSync(dataDir, { recursive: true })
  const lock = await holdLock(join(dataDir, 'erp.lock'), waitMs)
  try {
    const db = new DatabaseSync(join(dataDir, 'erp.sqlite'))
    db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON')
    transaction(db, () => prepare(db))
    return {
      db,
      close: () => {
        db.close()
        lock.close()
      },
    }
  } catch (error) {
    lock.close()
    throw error
  }
}

/** Runs `body` in one transaction: what it throws rolls everything back. */
export function transaction<T>(db: DatabaseSync, body: () => T): T {
  db.exec('BEGIN IMMEDIATE')
  try {
    const result = body()
    db.exec('COMMIT')
    return result
  } catch (error) {
    if (db.isTransaction) db.exec('ROLLBACK')
    throw error
  }
}

function prepare(db: DatabaseSync): void {
  const found = Number(db.prepare('PRAGMA user_version').get()?.['user_version'])
  if (found === version) return
  if (found !== 0)
    throw new ErpError('DATA_VERSION', `the ERP's database has version ${found}, this ERP knows ${version}`)
  db.exec(tables)
  seed(db)
  db.exec(`PRAGMA user_version = ${version}`)
}

/** The one left over from a killed parent needs a moment to notice and end, so waiting is the normal case. */
async function holdLock(path: string, waitMs: number): Promise<DatabaseSync> {
  const pauseMs = 25
  const lock = new DatabaseSync(path, { timeout: 0 })
  for (let waited = 0; ; waited += pauseMs) {
    try {
      lock.exec('BEGIN EXCLUSIVE')
      return lock
    } catch (error) {
      const busy = (error as { errcode?: number }).errcode === 5
      if (busy && waited < waitMs) {
        await sleep(pauseMs)
        continue
      }
      lock.close()
      if (!busy) throw error
      throw new ErpError(
        'DATA_IN_USE',
        `another ERP has the data folder of ${path}; stop it or choose another --data`,
        {
          cause: error,
        },
      )
    }
  }
}
