import type { DatabaseSync } from 'node:sqlite'
import type { Result } from './result.ts'
import type { AuditSummaryWire, AuditWire } from './wire.ts'

export interface Call {
  method: string
  /** With the query. */
  path: string
  key: string | null
  run: string | null
}

/** Notes one call. For a change this runs in the change's own transaction, so that neither is there without the other. */
export function recordCall(
  db: DatabaseSync,
  now: number,
  { method, path, key, run }: Call,
  { applied, status, effect }: { applied: AuditWire['applied']; status: number; effect?: string | undefined },
): void {
  db.prepare(
    'INSERT INTO audit (time, method, path, key, run, applied, status, effect) VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
  ).run(now, method, path, key, run, applied, status, effect ?? null)
}

export function listAudit(db: DatabaseSync): Result {
  const rows = db.prepare('SELECT * FROM audit ORDER BY seq').all()
  const body = rows.map((row) => ({
    seq: row['seq'],
    time: new Date(Number(row['time'])).toISOString(),
    method: row['method'],
    path: row['path'],
    idempotencyKey: row['key'],
    run: row['run'],
    applied: row['applied'],
    status: row['status'],
    effect: row['effect'],
  }))
  return { status: 200, body }
}

/** Counted from the rows, not from the rules that should keep `repeatedEffects` at 0: it is there to catch them. */
export function summarizeAudit(db: DatabaseSync): Result {
  const count = (sql: string): number => Number(db.prepare(sql).get()?.['n'] ?? 0)
  const having = (applied: AuditWire['applied']): number =>
    Number(db.prepare('SELECT COUNT(*) AS n FROM audit WHERE applied = ?').get(applied)?.['n'] ?? 0)
  const perKey = "SELECT COUNT(*) - 1 AS extra FROM audit WHERE applied = 'applied' GROUP BY key"
  const perInvoice = 'SELECT COUNT(*) - 1 AS extra FROM payments WHERE reversed_at IS NULL GROUP BY vendor, invoice'
  const body: AuditSummaryWire = {
    calls: count('SELECT COUNT(*) AS n FROM audit'),
    applied: having('applied'),
    repeated: having('repeated'),
    refused: having('refused'),
    read: having('read'),
    payments: count('SELECT COUNT(*) AS n FROM payments WHERE reversed_at IS NULL'),
    repeatedEffects:
      count(`SELECT COALESCE(SUM(extra), 0) AS n FROM (${perKey})`) +
      count(`SELECT COALESCE(SUM(extra), 0) AS n FROM (${perInvoice})`),
  }
  return { status: 200, body }
}
