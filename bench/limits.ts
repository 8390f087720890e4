/**
 * What this machine can do at best, measured in the same run as the workloads: a durable step cannot be faster than the
 * disk's own sync, so figures are read against these. Nothing is cached: absolute rates drift with the host's load.
 */
import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

/** Writes per second, each followed by `fdatasync`. */
export interface FsyncRate {
  /** 1 KB at the end of a file that grows: each sync also commits the file's new size. */
  readonly append1k: number
  readonly append4k: number
  /** 4 KB over what is there already, as a log does that is reused after a checkpoint: cheaper, the size stays. */
  readonly overwrite4k: number
}

/** How long one measurement may last; the first part is a warm-up that does not count. */
export interface Budget {
  readonly warmupMs?: number
  readonly measureMs?: number
}

/** `fdatasync` of appends and of overwrites per second, in a temporary folder inside `dir` that is removed afterwards. */
export function measureFsyncRate(dir: string, budget: Budget = {}): FsyncRate {
  return inTemporaryFolder(dir, (folder) => ({
    append1k: appendRate(join(folder, '1k'), 1024, budget),
    append4k: appendRate(join(folder, '4k'), 4096, budget),
    overwrite4k: overwriteRate(join(folder, 'over'), 4096, budget),
  }))
}

/** `append1k` of `measureFsyncRate` alone. */
export function measureAppendRate(dir: string, budget: Budget = {}): number {
  return inTemporaryFolder(dir, (folder) => appendRate(join(folder, '1k'), 1024, budget))
}

/** Commits per second of `node:sqlite` in WAL mode with `synchronous=FULL`: one small row each, prepared statement. */
export function measureSqliteCommitRate(dir: string, budget: Budget = {}): number {
  return inTemporaryFolder(dir, (folder) => {
    const db = new DatabaseSync(join(folder, 'commits.db'))
    try {
      db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL')
      db.exec('CREATE TABLE row (id INTEGER PRIMARY KEY, text TEXT NOT NULL)')
      const insert = db.prepare('INSERT INTO row (text) VALUES (?)')
      return rate(() => insert.run('a small row of about fifty bytes, as a record is'), budget)
    } finally {
      db.close()
    }
  })
}

/** Highest resident memory of this process so far, in MB (10^6 bytes). */
export function peakRss(): number {
  // libuv gives maxRSS in KB (of 1024) on every platform.
  return (process.resourceUsage().maxRSS * 1024) / 1e6
}

function appendRate(file: string, bytes: number, budget: Budget): number {
  const block = Buffer.alloc(bytes, 'x')
  const fd = openSync(file, 'a')
  try {
    return rate(() => {
      writeSync(fd, block)
      fdatasyncSync(fd)
    }, budget)
  } finally {
    closeSync(fd)
  }
}

function overwriteRate(file: string, bytes: number, budget: Budget): number {
  const blocks = 1000
  writeFileSync(file, Buffer.alloc(bytes * blocks, 'x'), { flush: true })
  const block = Buffer.alloc(bytes, 'y')
  const fd = openSync(file, 'r+')
  let at = 0
  try {
    return rate(() => {
      writeSync(fd, block, 0, bytes, at * bytes)
      fdatasyncSync(fd)
      at = (at + 1) % blocks
    }, budget)
  } finally {
    closeSync(fd)
  }
}

function rate(once: () => void, { warmupMs = 200, measureMs = 1000 }: Budget): number {
  count(once, warmupMs)
  const { times, ms } = count(once, measureMs)
  return (times / ms) * 1000
}

function count(once: () => void, forMs: number): { times: number; ms: number } {
  const from = performance.now()
  let times = 0
  let ms = 0
  do {
    once()
    times += 1
    ms = performance.now() - from
  } while (ms < forMs)
  return { times, ms }
}

function inTemporaryFolder<T>(dir: string, use: (folder: string) => T): T {
  const folder = mkdtempSync(join(dir, 'limits-'))
  try {
    return use(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
