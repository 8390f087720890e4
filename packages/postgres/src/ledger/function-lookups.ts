import { amended } from './function-archive.ts'
import { settings } from './function-settings.ts'
import { append } from './functions.ts'

// Runs and approvals by name, and many reads at once. A plan is made once a connection, often of a store that is still
// empty: every index that begins with the tenant costs the same then, and one that has the tenant's whole list in another
// order would be walked from its beginning for as long as the connection lives. So a name is asked for as a range in the
// order of the names, with sorting off: only the primary key gives that order.
//
// `apply_1` and `append_1` keep their numbers: what they did before they do still, so builds of the version before go on
// calling them.

const sorted = `${settings} SET enable_sort = off SET enable_incremental_sort = off SET enable_bitmapscan = off`

const one = (table: string, key: string, name: string): string =>
  `FROM $S.${table} k WHERE k.tenant = tenant_ AND k.${key} >= ${name} AND k.${key} <= ${name} ORDER BY k.${key} LIMIT 1`

const apply = `
CREATE OR REPLACE FUNCTION $S.apply_1(tenant_ text, stream_ bigint, inbox boolean, c jsonb) RETURNS boolean ${sorted} AS $$
DECLARE
  name text := c->>'id';
  place tid;
  merged jsonb;
  waked double precision;
  status_ text;
BEGIN
  CASE c->>'kind'
  WHEN 'run' THEN
    SELECT k.ctid, (k.doc - ARRAY(SELECT jsonb_array_elements_text(c->'clear'))) || (c->'set') INTO place, merged
      ${one('runs', 'run', 'name')} FOR UPDATE;
    IF FOUND THEN
      UPDATE $S.runs SET v = 1, doc = merged, status = merged->>'status', due = (merged->>'due')::double precision,
        priority = (merged->>'priority')::double precision WHERE ctid = place AND tenant = tenant_ AND run = name;
      IF NOT FOUND THEN RAISE EXCEPTION 'a locked row has moved' USING ERRCODE = 'serialization_failure'; END IF;
      RETURN true;
    END IF;
    IF c->'set'->>'workflow' IS NULL THEN RETURN false; END IF;
    merged := c->'set';
    INSERT INTO $S.runs(tenant, run, stream, workflow, status, due, priority, started, doc) VALUES (
      tenant_, name, stream_, merged->>'workflow', merged->>'status', (merged->>'due')::double precision,
      (merged->>'priority')::double precision, (merged->>'startedAt')::double precision, merged);
    RETURN true;
  WHEN 'wake' THEN
    SELECT k.ctid, k.due, k.status INTO place, waked, status_ ${one('runs', 'run', 'name')} FOR UPDATE;
    IF NOT FOUND OR status_ IN ('done', 'failed', 'cancelled', 'continued') THEN RETURN false; END IF;
    IF waked IS NULL OR waked > (c->>'at')::double precision THEN
      UPDATE $S.runs SET v = 1, due = (c->>'at')::double precision, doc = doc || jsonb_build_object('due', c->'at')
        WHERE ctid = place AND tenant = tenant_ AND run = name;
      IF NOT FOUND THEN RAISE EXCEPTION 'a locked row has moved' USING ERRCODE = 'serialization_failure'; END IF;
    END IF;
    RETURN true;
  ELSE
    SELECT k.ctid INTO place ${one('approvals', 'id', 'name')} FOR UPDATE;
    IF FOUND THEN
      UPDATE $S.approvals SET v = 1, doc = doc || (c->'set'), status = coalesce(c->'set'->>'status', status),
          requested = coalesce((c->'set'->>'requestedAt')::double precision, requested)
        WHERE ctid = place AND tenant = tenant_ AND id = name AND run = c->>'run' AND (status = 'pending' OR NOT inbox);
      IF FOUND THEN RETURN true; END IF;
    END IF;
    IF c->'set'->>'ref' IS NULL THEN RETURN false; END IF;
    INSERT INTO $S.approvals(tenant, id, run, status, requested, doc) VALUES (
      tenant_, name, c->'set'->>'run', c->'set'->>'status', (c->'set'->>'requestedAt')::double precision, c->'set')
      ON CONFLICT DO NOTHING;
    RETURN FOUND;
  END CASE;
END $$;`

// One row for each that is there: which of those that were asked for it is, and what it says.
const rows = `
CREATE FUNCTION $S.rows_1(c_tenant text[], c_run text[]) RETURNS TABLE(doc jsonb, owned boolean, item bigint) STABLE
${sorted} AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY SELECT r.doc, r.status = 'queued' AND (SELECT s.owner FROM $S.streams s WHERE s.id = r.stream) IS NOT NULL, u.o
    FROM unnest(c_tenant, c_run) WITH ORDINALITY AS u(tenant_, name, o)
    CROSS JOIN LATERAL (SELECT k.doc, k.status, k.stream ${one('runs', 'run', 'u.name')}) AS r;
END $$;

CREATE FUNCTION $S.approval_1(tenant_ text, name text) RETURNS jsonb STABLE ${sorted} AS $$
BEGIN
  RETURN (SELECT k.doc ${one('approvals', 'id', 'name')});
END $$;`

// Records of many streams, each from a position on, at most so many of each; as single reads have them (reads.ts).
const reads = `
CREATE FUNCTION $S.reads_1(c_tenant text[], c_name text[], c_from int[], c_outline boolean[], limit_ int)
RETURNS TABLE("position" bigint, seq int, epoch int, at double precision, shape int, sums bytea, path text, fold text,
  causes text, blobs text, spill text, payload text, stream bigint, before bytea, item bigint) STABLE ${sorted} AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY SELECT r.*, u.o
    FROM unnest(c_tenant, c_name, c_from, c_outline) WITH ORDINALITY AS u(tenant_, name_, first, outline, o)
    CROSS JOIN LATERAL (
      SELECT k.position, k.seq, k.epoch, k.at, k.shape, k.sums, k.path, k.fold, k.causes,
          CASE WHEN k.blobs IS NOT NULL THEN (SELECT string_agg(coalesce(encode(b.hash, 'hex'), 'missing'), ' ' ORDER BY i.ordinality)
            FROM unnest(k.blobs) WITH ORDINALITY AS i(id, ordinality) LEFT JOIN $S.blobs b ON b.id = i.id) END,
          CASE WHEN k.spill IS NOT NULL THEN (SELECT encode(b.hash, 'hex') FROM $S.blobs b WHERE b.id = k.spill) END,
          k.payload, k.stream,
          CASE WHEN u.outline OR k.seq = u.first
            THEN (SELECT p.sums FROM $S.records p WHERE p.stream = k.stream AND p.seq = k.seq - 1) END
        FROM $S.records k
        WHERE k.stream = (SELECT CASE WHEN s.archived = 0 THEN s.id ELSE $S.archived_1(s.name) END
            FROM $S.streams s WHERE s.tenant = u.tenant_ AND s.name = u.name_)
          AND k.seq >= u.first
          AND (NOT u.outline OR k.fold IS NULL
            OR NOT EXISTS (SELECT FROM $S.folds f WHERE f.stream = k.stream AND f.path = k.fold))
        ORDER BY k.seq LIMIT limit_) AS r;
END $$;`

// Messages and guards of a large group cost by their number: nothing is copied for each that grows with all of them.
const lean = amended(
  append,
  [
    `  posted jsonb := '[]';`,
    `  posted jsonb := '[]';
  mine jsonb;
  place_a int[] := '{}';
  place_seq int[] := '{}';
  place_old boolean[] := '{}';
  fresh_posts bigint[] := '{}';
  nth bigint;`,
  ],
  [
    `    FOR one, n IN
      SELECT (g->>'a')::int, count(*) FROM jsonb_array_elements(x->'guards') AS g GROUP BY 1 ORDER BY 1
    LOOP`,
    `    FOR one, n, mine IN
      SELECT (g->>'a')::int, count(*), jsonb_agg(g ORDER BY o)
        FROM jsonb_array_elements(x->'guards') WITH ORDINALITY AS u(g, o) GROUP BY 1 ORDER BY 1
    LOOP`,
  ],
  [`$S.guard_1(one, x->'guards', s_id)`, '$S.guard_1(one, mine, s_id)'],
  [`$S.guard_all_1(one, x->'guards', s_id)`, '$S.guard_all_1(one, mine, s_id)'],
  [
    `    FOR m IN
      SELECT value FROM jsonb_array_elements(x->'posts') WITH ORDINALITY WHERE (value->>'a')::int <> ALL (refused)
        ORDER BY ordinality`,
    `    FOR m, nth IN
      SELECT value, ordinality FROM jsonb_array_elements(x->'posts') WITH ORDINALITY
        WHERE (value->>'a')::int <> ALL (refused) ORDER BY ordinality`,
  ],
  [
    `        posted := posted || jsonb_build_array(jsonb_build_array(m->'a', place, salt IS DISTINCT FROM m->>'salt'));
        CONTINUE;`,
    `        place_a := place_a || (m->>'a')::int;
        place_seq := place_seq || place;
        place_old := place_old || (salt IS DISTINCT FROM m->>'salt');
        CONTINUE;`,
  ],
  [
    `$S.blob_ids_1(s.tenant, m->>'spill'), ($S.blob_ids_1(s.tenant, m->>'spill'))[1], m->>'payload');`,
    `CASE WHEN m->>'spill' IS NOT NULL THEN $S.blob_ids_1(s.tenant, m->>'spill') END,
        CASE WHEN m->>'spill' IS NOT NULL THEN ($S.blob_ids_1(s.tenant, m->>'spill'))[1] END, m->>'payload');`,
  ],
  [
    `      INSERT INTO $S.dependents(tenant, ref, stream, seq)
        SELECT s.tenant, ref, s.id, place FROM jsonb_array_elements_text(m->'foreign') AS ref ON CONFLICT DO NOTHING;
      posted := posted || jsonb_build_array(jsonb_build_array(m->'a', place, false));
      told := true;
      x := jsonb_set(x, '{changes}', coalesce(x->'changes', '[]') || coalesce(m->'changes', '[]'));
    END LOOP;`,
    `      IF m->'foreign' <> '[]' THEN
        INSERT INTO $S.dependents(tenant, ref, stream, seq)
          SELECT s.tenant, ref, s.id, place FROM jsonb_array_elements_text(m->'foreign') AS ref ON CONFLICT DO NOTHING;
      END IF;
      place_a := place_a || (m->>'a')::int;
      place_seq := place_seq || place;
      place_old := place_old || false;
      fresh_posts := fresh_posts || nth;
      told := true;
    END LOOP;
    IF cardinality(place_a) > 0 THEN
      SELECT jsonb_agg(jsonb_build_array(a, seq, old) ORDER BY o) INTO posted
        FROM unnest(place_a, place_seq, place_old) WITH ORDINALITY AS u(a, seq, old, o);
    END IF;`,
  ],
  [
    `      SELECT value FROM jsonb_array_elements(x->'changes') WITH ORDINALITY WHERE (value->>'a')::int <> ALL (refused)
        ORDER BY value->>'kind' = 'approval', s_tenant[(value->>'s')::int], value->>'id' COLLATE "C", ordinality`,
    `      SELECT value FROM (
          SELECT u.value, 0 AS post, u.ordinality FROM jsonb_array_elements(x->'changes') WITH ORDINALITY AS u
        UNION ALL
          SELECT w.value, p.ordinality, w.ordinality FROM jsonb_array_elements(x->'posts') WITH ORDINALITY AS p,
            jsonb_array_elements(p.value->'changes') WITH ORDINALITY AS w WHERE p.ordinality = ANY (fresh_posts)) AS v
        WHERE (value->>'a')::int <> ALL (refused)
        ORDER BY value->>'kind' = 'approval', s_tenant[(value->>'s')::int], value->>'id' COLLATE "C", post, ordinality`,
  ],
)

export const lookups: string = [apply, rows, reads, lean].join('\n')
