import { sameGrants } from './tables-lists.ts'

// Ended runs out of the tables and back. `streams.archived` says where an archived stream ended; its hash, epoch and
// name stay, and so does the run's row. Whatever build writes: the constraint refuses it for an archived stream.
//
// `orphans` has the blobs that archived records referred to, until somebody has looked whether others do.
// `v` is the version of the projections that wrote a row last, so that a newer build finds those that it has to write
// anew while older ones still write theirs (rebuild.ts).

const ended = `status IN ('done', 'failed', 'cancelled', 'continued')`

/** The rows that `Archive.ended` walks, and their order. */
export const archivable: string = `${ended} AND NOT doc ? 'archived'`
export const changedAt = `((doc->>'updatedAt')::double precision)`

export const archiveTables: string = `
CREATE TABLE $S.orphans(blob bigint PRIMARY KEY, since timestamptz NOT NULL DEFAULT clock_timestamp());
${sameGrants('orphans')}
ALTER TABLE $S.runs ADD COLUMN v integer NOT NULL DEFAULT 1;
ALTER TABLE $S.approvals ADD COLUMN v integer NOT NULL DEFAULT 1;
CREATE INDEX runs_archivable ON $S.runs(tenant, ${changedAt}, run) WHERE ${archivable};
CREATE INDEX runs_parent ON $S.runs(tenant, (doc->>'parent')) WHERE doc->>'parent' IS NOT NULL;
CREATE INDEX runs_fork ON $S.runs(tenant, (doc->>'forkOf')) WHERE doc->>'forkOf' IS NOT NULL;
`

/** The last thing of the step: from here to its end every append waits. */
export const closing: string = `
ALTER TABLE $S.streams ADD CONSTRAINT streams_archived CHECK (archived = 0 OR (seq = archived AND owner IS NULL)) NOT VALID;
`
