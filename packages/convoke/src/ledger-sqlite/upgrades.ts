// What was added to the store's tables since the first release, step by step. A step only adds: builds that know nothing
// of it go on working with the store, also those that have it open while it is made, so what must hold whoever writes is
// a trigger. Numbers are places in this list; a step that was released is never changed.

const ended = `status IN ('done', 'failed', 'cancelled', 'continued')`

/** The rows that `Archive.ended` walks; the query says the same words, or SQLite does not use the index. */
export const archivable: string = `${ended} AND json_extract(row, '$.archived') IS NULL`
export const changedAt = `json_extract(row, '$.updatedAt')`

const lists = `
CREATE INDEX runs_status ON runs(tenant, status, started, run);
CREATE INDEX runs_workflow ON runs(tenant, workflow, started, run);
CREATE INDEX runs_workflow_status ON runs(tenant, workflow, status, started, run);
CREATE INDEX runs_ready ON runs(priority DESC, due, tenant, run) WHERE due IS NOT NULL;
CREATE INDEX runs_ready_tenant ON runs(tenant, priority DESC, due, run) WHERE due IS NOT NULL;
CREATE INDEX approvals_status ON approvals(tenant, status, requested, id);
CREATE INDEX approvals_requested ON approvals(tenant, requested, id);
CREATE INDEX approvals_run ON approvals(tenant, run, requested, id);
CREATE TABLE run_tags(
  tenant TEXT NOT NULL, tag TEXT NOT NULL, started INTEGER NOT NULL, run TEXT NOT NULL,
  PRIMARY KEY(tenant, tag, started, run)) WITHOUT ROWID;
INSERT OR IGNORE INTO run_tags(tenant, tag, started, run)
  SELECT r.tenant, t.value, r.started, r.run FROM runs r, json_each(r.row, '$.tags') t;
CREATE TRIGGER runs_tagged AFTER INSERT ON runs BEGIN
  INSERT OR IGNORE INTO run_tags(tenant, tag, started, run)
    SELECT new.tenant, t.value, new.started, new.run FROM json_each(new.row, '$.tags') t;
END;
CREATE TRIGGER runs_untagged AFTER DELETE ON runs BEGIN
  DELETE FROM run_tags WHERE tenant = old.tenant AND started = old.started AND run = old.run
    AND tag IN (SELECT t.value FROM json_each(old.row, '$.tags') t);
END;
`

// An archived stream keeps its row: where it ended (`archived`) and the hash it ended with. A build that knows nothing
// of that takes it for a new stream; it may not begin one there.
const archive = `
ALTER TABLE streams ADD COLUMN archived INTEGER NOT NULL DEFAULT 0;
ALTER TABLE streams ADD COLUMN head BLOB;
CREATE TRIGGER streams_archived BEFORE INSERT ON records
  WHEN new.seq = 1 AND (SELECT archived FROM streams WHERE id = new.stream) > 0 BEGIN
  SELECT raise(ABORT, 'the stream is archived');
END;
CREATE TABLE orphans(blob INTEGER PRIMARY KEY, since INTEGER NOT NULL);
CREATE INDEX runs_archivable ON runs(tenant, ${changedAt}, run) WHERE ${archivable};
CREATE INDEX runs_fork ON runs(tenant, json_extract(row, '$.forkOf')) WHERE json_extract(row, '$.forkOf') IS NOT NULL;
CREATE INDEX runs_parent ON runs(tenant, json_extract(row, '$.parent')) WHERE json_extract(row, '$.parent') IS NOT NULL;
`

export const upgrades: readonly string[] = [lists, archive]
