// The tables of the store, as the first migration makes them. `$S` stands for the schema's quoted name.
//
// - `streams` holds each stream's head, epoch and owner: one narrow row, changed in place by every append (no changed
//   column is indexed and pages are left half empty, so Postgres rewrites it on its page: a heap-only update).
// - `records` only grows, in commit order of its positions nearly, so its pages fill one after the other.
// - What is asked of a growing table stands in partial indexes that hold only what is still open: due runs, runs by
//   status, pending approvals. So their size follows the work in hand, not the history.
// - All text compares by bytes (COLLATE "C"), as the other ledgers do.
// - `at`, `due` and counters are double precision: the numbers that JavaScript has, kept exactly.

export const tables: string = `
CREATE TABLE $S.tenants(tenant text COLLATE "C" PRIMARY KEY, key bytea NOT NULL);

CREATE TABLE $S.streams(
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant text COLLATE "C" NOT NULL,
  name text COLLATE "C" NOT NULL,
  seq integer NOT NULL DEFAULT 0,
  epoch integer NOT NULL DEFAULT 0,
  hash bytea NOT NULL DEFAULT '\\x${'00'.repeat(32)}',
  owner text COLLATE "C",
  -- Records up to here were archived and dropped; the chain goes on from the hash of the last of them.
  archived integer NOT NULL DEFAULT 0,
  UNIQUE(tenant, name)) WITH (fillfactor = 50);

CREATE TABLE $S.shapes(
  id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, hash bytea NOT NULL UNIQUE, text text NOT NULL);

-- One value at a time (CACHE 1), so that ids are handed out in order: watch counts on it.
CREATE SEQUENCE $S.positions CACHE 1;

CREATE TABLE $S.records(
  position bigint NOT NULL DEFAULT nextval('$S.positions'),
  stream bigint NOT NULL,
  at double precision NOT NULL,
  seq integer NOT NULL,
  epoch integer NOT NULL,
  shape integer NOT NULL,
  -- Hash, commitment and salt, one after the other.
  sums bytea NOT NULL,
  path text, fold text COLLATE "C", causes text,
  blobs bigint[], spill bigint,
  payload text NOT NULL,
  PRIMARY KEY(stream, seq));
CREATE UNIQUE INDEX records_position ON $S.records(position);

CREATE TABLE $S.folds(stream bigint NOT NULL, path text COLLATE "C" NOT NULL, PRIMARY KEY(stream, path));
CREATE TABLE $S.dependents(
  tenant text COLLATE "C" NOT NULL, ref text COLLATE "C" NOT NULL, stream bigint NOT NULL, seq integer NOT NULL,
  PRIMARY KEY(tenant, ref, stream, seq));
CREATE INDEX dependents_stream ON $S.dependents(stream);

CREATE TABLE $S.blobs(
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tenant text COLLATE "C" NOT NULL, hash bytea NOT NULL,
  type text NOT NULL, bytes bytea, UNIQUE(tenant, hash));
-- What is stored there is mostly compressed or not worth it.
ALTER TABLE $S.blobs ALTER COLUMN bytes SET STORAGE EXTERNAL;

CREATE TABLE $S.messages(
  stream bigint NOT NULL, id text COLLATE "C" NOT NULL, seq integer NOT NULL, PRIMARY KEY(stream, id));
CREATE TABLE $S.uniques(
  tenant text COLLATE "C" NOT NULL, key text COLLATE "C" NOT NULL, owner text NOT NULL, PRIMARY KEY(tenant, key));
CREATE TABLE $S.counters(
  tenant text COLLATE "C" NOT NULL, counter text COLLATE "C" NOT NULL, total double precision NOT NULL DEFAULT 0,
  PRIMARY KEY(tenant, counter)) WITH (fillfactor = 50);
CREATE TABLE $S.counted(
  tenant text COLLATE "C" NOT NULL, counter text COLLATE "C" NOT NULL, key text COLLATE "C" NOT NULL,
  added double precision NOT NULL, PRIMARY KEY(tenant, counter, key));

CREATE TABLE $S.workers(
  id text COLLATE "C" PRIMARY KEY,
  -- Of the registration, so that a repeated one is known for the same.
  nonce text NOT NULL,
  host text NOT NULL, pid integer NOT NULL, since double precision NOT NULL, lease integer NOT NULL,
  expires timestamptz NOT NULL,
  -- When its session was first seen to have ended.
  suspected timestamptz,
  -- Its session ended and did not come back: others may take its runs over, though it is not known to be dead.
  gone boolean NOT NULL DEFAULT false) WITH (fillfactor = 50);

CREATE TABLE $S.runs(
  tenant text COLLATE "C" NOT NULL, run text COLLATE "C" NOT NULL, stream bigint NOT NULL,
  workflow text COLLATE "C" NOT NULL, status text COLLATE "C" NOT NULL, due double precision,
  priority double precision NOT NULL, started double precision NOT NULL, doc jsonb NOT NULL,
  PRIMARY KEY(tenant, run)) WITH (fillfactor = 80);
CREATE INDEX runs_due ON $S.runs(priority DESC, due, tenant, run) WHERE due IS NOT NULL;
CREATE INDEX runs_started ON $S.runs(tenant, started DESC, run DESC);
CREATE INDEX runs_status ON $S.runs(tenant, status, started DESC, run DESC);
CREATE INDEX runs_workflow ON $S.runs(tenant, workflow, started DESC, run DESC);

CREATE TABLE $S.approvals(
  tenant text COLLATE "C" NOT NULL, id text COLLATE "C" NOT NULL, run text COLLATE "C" NOT NULL,
  status text COLLATE "C" NOT NULL, requested double precision NOT NULL, doc jsonb NOT NULL,
  PRIMARY KEY(tenant, id)) WITH (fillfactor = 80);
CREATE INDEX approvals_status ON $S.approvals(tenant, status, requested, id);
CREATE INDEX approvals_requested ON $S.approvals(tenant, requested, id);
CREATE INDEX approvals_run ON $S.approvals(tenant, run, requested, id);

-- Rows that change often are cleaned up early: by number, not by share of a table that has grown large.
ALTER TABLE $S.streams SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
ALTER TABLE $S.runs SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
ALTER TABLE $S.workers SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);
ALTER TABLE $S.counters SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);
`
