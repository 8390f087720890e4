import {
  chmodSync,
  closeSync,
  existsSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  statSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { ConvokeError } from '../core/errors.ts'
import { projectionVersion } from '../core/projections.ts'
import { busy, fromSqlite, isBusy, sqliteCode } from './errors.ts'
import { upgrades } from './upgrades.ts'

// The store's files and tables. Rows are in commit order (`position` is the rowid, given under the write lock), which
// fills pages one after the other and is what `watch` reads; `records_place` is how a stream is read.

/** The newest that this build reads. A store is made with `firstFormat` and rises when something in it asks for more. */
export const storeFormat = 2
const firstFormat = 1
/** Something of the store is archived: builds that know nothing of that may not open it any more. */
export const archivedFormat = 2

const tables = `
CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE tenants(tenant TEXT PRIMARY KEY, key BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE streams(
  id INTEGER PRIMARY KEY, tenant TEXT NOT NULL, name TEXT NOT NULL, epoch INTEGER NOT NULL DEFAULT 0, owner TEXT,
  UNIQUE(tenant, name));
CREATE TABLE shapes(id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
CREATE TABLE records(
  position INTEGER PRIMARY KEY, stream INTEGER NOT NULL, seq INTEGER NOT NULL, epoch INTEGER NOT NULL,
  at INTEGER NOT NULL, shape INTEGER NOT NULL, hash BLOB NOT NULL, commitment BLOB NOT NULL, salt BLOB NOT NULL,
  path TEXT, fold TEXT, causes TEXT, blobs TEXT, spill INTEGER, payload TEXT NOT NULL);
CREATE UNIQUE INDEX records_place ON records(stream, seq);
CREATE TABLE folds(stream INTEGER NOT NULL, path TEXT NOT NULL, PRIMARY KEY(stream, path)) WITHOUT ROWID;
CREATE TABLE dependents(
  tenant TEXT NOT NULL, ref TEXT NOT NULL, stream INTEGER NOT NULL, seq INTEGER NOT NULL,
  PRIMARY KEY(tenant, ref, stream, seq)) WITHOUT ROWID;
CREATE TABLE blobs(
  id INTEGER PRIMARY KEY, tenant TEXT NOT NULL, hash BLOB NOT NULL, type TEXT NOT NULL, bytes BLOB,
  UNIQUE(tenant, hash));
CREATE TABLE messages(
  stream INTEGER NOT NULL, id TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY(stream, id)) WITHOUT ROWID;
CREATE TABLE uniques(
  tenant TEXT NOT NULL, key TEXT NOT NULL, owner TEXT NOT NULL, PRIMARY KEY(tenant, key)) WITHOUT ROWID;
CREATE TABLE counters(
  tenant TEXT NOT NULL, counter TEXT NOT NULL, total REAL NOT NULL, PRIMARY KEY(tenant, counter)) WITHOUT ROWID;
CREATE TABLE counted(
  tenant TEXT NOT NULL, counter TEXT NOT NULL, key TEXT NOT NULL, added REAL NOT NULL,
  PRIMARY KEY(tenant, counter, key)) WITHOUT ROWID;
CREATE TABLE workers(
  id TEXT PRIMARY KEY, host TEXT NOT NULL, pid INTEGER NOT NULL, beat INTEGER NOT NULL, lease INTEGER NOT NULL,
  since INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE runs(
  stream INTEGER PRIMARY KEY, tenant TEXT NOT NULL, run TEXT NOT NULL, workflow TEXT NOT NULL, status TEXT NOT NULL,
  due INTEGER, priority INTEGER NOT NULL, started INTEGER NOT NULL, row TEXT NOT NULL, UNIQUE(tenant, run));
CREATE INDEX runs_due ON runs(due) WHERE due IS NOT NULL;
CREATE INDEX runs_started ON runs(tenant, started, run);
CREATE TABLE approvals(
  tenant TEXT NOT NULL, id TEXT NOT NULL, run TEXT NOT NULL, status TEXT NOT NULL, requested INTEGER NOT NULL,
  row TEXT NOT NULL, PRIMARY KEY(tenant, id)) WITHOUT ROWID;
`

/**
 * @throws SQLITE_UNSAFE for builds whose WAL-reset bug can lose committed data (3.7.0 to 3.51.2, fixed in 3.51.3)
 */
export function checkSqlite(version: string): void {
  const [major = 0, minor = 0, patch = 0] = version.split('.').map(Number)
  const number = major * 1_000_000 + minor * 1_000 + patch
  if (number >= 3_051_003 || number < 3_007_000) return
  throw new ConvokeError('SQLITE_UNSAFE', `SQLite ${version} has the WAL-reset bug, which can lose committed data`, {
    details: { version },
    next: 'use a Node.js that brings SQLite 3.51.3 or later (Node.js 24.15 does)',
  })
}

/** Milliseconds. What stands behind `performance` takes Node a while to load, and nobody can begin before the store is open. */
function now(): number {
  return Number(process.hrtime.bigint()) / 1e6
}

/** How long SQLite itself waits in one go, after which we look whether the store is still wanted. */
const lookMs = 100

/**
 * With `asItIs`, a store that is there already is taken as it is, and one that is not up to date is refused.
 * @throws STORE_UNUSABLE, STORE_NEWER, SQLITE_UNSAFE, LEDGER_BUSY, LEDGER_CORRUPT, LEDGER_FULL
 */
export function openStore(options: {
  readonly dir: string
  readonly durability: 'full' | 'process-crash-only'
  readonly busyMs: number
  readonly asItIs?: boolean
  /** 1 when nobody wants the store any more. */
  readonly unwanted?: Int32Array
}): DatabaseSync {
  const { dir, unwanted } = options
  makeFolder(dir)
  const file = join(dir, 'ledger.db')
  const began = now()
  const until = { end: began + options.busyMs, unwanted }
  let opened: DatabaseSync | undefined
  try {
    const db = new DatabaseSync(file, { timeout: Math.min(options.busyMs, lookMs) })
    opened = db
    checkSqlite((db.prepare('SELECT sqlite_version() AS v').get() as { v: string }).v)
    retry(() => {
      // Records of 1 to 2 KB leave a quarter to a half of a page of 4 KB empty. Only a new file takes it.
      db.exec('PRAGMA page_size = 8192; PRAGMA journal_mode = WAL')
      // FULL syncs the WAL at each commit: what was acknowledged survives power loss. NORMAL survives the process only.
      db.exec(`PRAGMA synchronous = ${options.durability === 'full' ? 'FULL' : 'NORMAL'}`)
      db.exec('PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16000; PRAGMA wal_autocheckpoint = 400')
      db.exec('PRAGMA journal_size_limit = 16777216; PRAGMA trusted_schema = OFF')
    }, until)
    retry(() => prepare(db, dir, options.asItIs === true), until)
    // Waiting is done by the caller from here on, in turns that are fair and leave the thread free.
    db.exec('PRAGMA busy_timeout = 0')
    syncFolder(dir)
    return db
  } catch (error) {
    opened?.close()
    if (isBusy(error)) throw busy(dir, Math.round(now() - began))
    if (sqliteCode(error) === 26)
      throw new ConvokeError('STORE_UNUSABLE', `${file} is not a Convoke store: it is not a SQLite database`, {
        details: { file },
        next: 'choose another folder with --store, or move that file away',
        cause: error,
      })
    throw fromSqlite(error, dir)
  }
}

function prepare(db: DatabaseSync, dir: string, asItIs: boolean): void {
  db.exec('BEGIN IMMEDIATE')
  try {
    const known = db.prepare(`SELECT count(*) AS n FROM sqlite_schema WHERE name = 'meta'`).get() as { n: number }
    if (known.n === 0) {
      const other = db.prepare('SELECT count(*) AS n FROM sqlite_schema').get() as { n: number }
      if (other.n > 0)
        throw new ConvokeError('STORE_UNUSABLE', `${dir}/ledger.db is a database of something else`, {
          details: { dir },
          next: 'choose another folder with --store',
        })
      create(db)
    }
    const format = db.prepare(`SELECT value FROM meta WHERE key = 'format'`).get() as { value: number } | undefined
    if (format === undefined || format.value > storeFormat) throw newer(dir, format?.value)
    if (asItIs && known.n > 0) checkCurrent(db)
    else upgrade(db)
    db.exec('COMMIT')
  } catch (error) {
    if (db.isTransaction) db.exec('ROLLBACK')
    throw error
  }
}

function create(db: DatabaseSync): void {
  db.exec(tables)
  const note = db.prepare('INSERT INTO meta(key, value) VALUES (?, ?)')
  note.run('format', firstFormat)
  note.run('projections', projectionVersion)
}

function upgrade(db: DatabaseSync): void {
  const made = db.prepare(`SELECT value FROM meta WHERE key = 'steps'`).get() as { value: number } | undefined
  if ((made?.value ?? 0) >= upgrades.length) return
  for (const step of upgrades.slice(made?.value ?? 0)) db.exec(step)
  db.prepare(`INSERT INTO meta(key, value) VALUES ('steps', ?) ON CONFLICT DO UPDATE SET value = excluded.value`).run(
    upgrades.length,
  )
}

function checkCurrent(db: DatabaseSync): void {
  const find = db.prepare('SELECT value FROM meta WHERE key = ?')
  const valueOf = (key: string): number => (find.get(key) as { value: number } | undefined)?.value ?? 0
  if (valueOf('steps') < upgrades.length || valueOf('projections') !== projectionVersion)
    throw new Error('the store is not up to date')
}

export function newer(dir: string, found: number | undefined): ConvokeError {
  return new ConvokeError(
    'STORE_NEWER',
    `the store in ${dir} has format ${found ?? 'unknown'}, this is ${storeFormat}`,
    {
      details: { dir, found: found ?? null, known: storeFormat },
      next: 'update Convoke, or choose another folder with --store',
    },
  )
}

function makeFolder(dir: string): void {
  try {
    makeFolders(dir)
    if (!statSync(dir).isDirectory()) throw new Error('it is not a folder')
    makeDatabase(dir)
    for (const name of ['ledger.db', 'wake', 'tail', 'turn']) createFile(join(dir, name))
    makeFolders(join(dir, 'workers'))
  } catch (error) {
    const full = (error as NodeJS.ErrnoException).code === 'ENOSPC'
    throw new ConvokeError(
      full ? 'LEDGER_FULL' : 'STORE_UNUSABLE',
      `${dir} cannot hold a store: ${(error as Error).message}`,
      {
        details: { dir },
        next: full ? 'free some space on that disk' : 'choose a folder that this user may write to with --store',
        cause: error,
      },
    )
  }
}

/**
 * Makes an empty store beside its place and puts it there as a whole: one sync, where SQLite makes seven when it turns an
 * empty file into a database, then into one with a WAL, then writes tables. Leaves it to `openStore` where that fails, such
 * as on a file system without links.
 */
function makeDatabase(dir: string): void {
  const file = join(dir, 'ledger.db')
  if (existsSync(file)) return
  const aside = mkdtempSync(join(dir, 'new-'))
  try {
    const fresh = join(aside, 'ledger.db')
    createFile(fresh)
    const db = new DatabaseSync(fresh, { timeout: 0 })
    try {
      db.exec('PRAGMA page_size = 8192; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; BEGIN')
      create(db)
      upgrade(db)
      db.exec('COMMIT; PRAGMA journal_mode = WAL')
    } finally {
      db.close()
    }
    syncFile(fresh)
    // Another process may have been faster: then its store stands.
    linkSync(fresh, file)
  } catch {
    // Whatever it was, it is met again, and told of, when the store is opened.
  } finally {
    rmSync(aside, { recursive: true, force: true })
  }
}

/** Node's own recursive mkdir never ends where a file system answers ENOENT to every mkdir, as /proc does. */
function makeFolders(dir: string): void {
  if (existsSync(dir)) return
  const parent = dirname(dir)
  if (parent !== dir) makeFolders(parent)
  try {
    mkdirSync(dir, { mode: 0o700 })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
}

/**
 * Only when it is missing: closing any descriptor of a database file drops the locks that this process holds on it
 * (POSIX), another ledger's on the same folder among them. SQLite gives its -wal and -shm the same mode.
 */
function createFile(path: string): void {
  try {
    closeSync(openSync(path, 'wx', 0o600))
    chmodSync(path, 0o600)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
}

/** The names of new files are durable only once their folders are. */
function syncFolder(dir: string): void {
  for (const folder of [dir, dirname(dir)]) {
    try {
      syncFile(folder)
    } catch {
      // A parent we may not read, or a platform without it: SQLite has synced its own files.
    }
  }
}

function syncFile(path: string): void {
  const handle = openSync(path, 'r')
  try {
    fsyncSync(handle)
  } finally {
    closeSync(handle)
  }
}

function retry(act: () => void, until: { readonly end: number; readonly unwanted: Int32Array | undefined }): void {
  const nap = new Int32Array(new SharedArrayBuffer(4))
  for (;;) {
    try {
      act()
      return
    } catch (error) {
      const { end, unwanted } = until
      if (!isBusy(error) || now() > end || (unwanted !== undefined && Atomics.load(unwanted, 0) === 1)) throw error
      Atomics.wait(nap, 0, 0, 5)
    }
  }
}
