import { explain } from './functions.ts'
import { projections } from './function-parts.ts'
import { settings } from './function-settings.ts'

// Archiving, and what other functions say of archived streams. Those that are replaced here keep their number: what
// they did before they do still, so builds of the version before go on calling them.

/** A released text with something more in it. */
export function amended(text: string, ...changes: readonly (readonly [old: string, fresh: string])[]): string {
  return changes.reduce(
    (found, [old, fresh]) => {
      if (!found.includes(old)) throw new Error(`no ${old} to be amended`)
      return found.replace(old, () => fresh)
    },
    text.replace('CREATE FUNCTION', 'CREATE OR REPLACE FUNCTION'),
  )
}

const replaced = [
  amended(explain, [
    'SELECT * INTO s FROM $S.streams WHERE id = s_id[p_stream[p]];',
    `SELECT * INTO s FROM $S.streams WHERE id = s_id[p_stream[p]];
    IF s.archived <> 0 THEN RETURN jsonb_build_array(a, 'RUN_ARCHIVED', s.name); END IF;`,
  ]),
  amended(
    projections,
    ['UPDATE $S.runs SET doc = merged,', 'UPDATE $S.runs SET v = 1, doc = merged,'],
    ["UPDATE $S.runs SET due = (c->>'at')", "UPDATE $S.runs SET v = 1, due = (c->>'at')"],
    ['UPDATE $S.approvals SET doc = doc', 'UPDATE $S.approvals SET v = 1, doc = doc'],
  ),
  `CREATE OR REPLACE FUNCTION $S.put_blobs_1(b_tenant text[], b_hash text[], b_type text[], b_bytes text[])
RETURNS void ${settings} AS $$
BEGIN
  -- Whoever stores it again is about to refer to it: it is not to be swept away.
  DELETE FROM $S.orphans o USING unnest(b_tenant, b_hash) AS b(tenant, hash), $S.blobs k
    WHERE k.tenant = b.tenant AND k.hash = decode(b.hash, 'hex') AND o.blob = k.id;
  INSERT INTO $S.blobs(tenant, hash, type, bytes)
    SELECT DISTINCT ON (b.tenant, b.hash) b.tenant, decode(b.hash, 'hex'), b.type, decode(b.bytes, 'hex')
      FROM unnest(b_tenant, b_hash, b_type, b_bytes) AS b(tenant, hash, type, bytes)
      WHERE NOT EXISTS (SELECT FROM $S.blobs k
        WHERE k.tenant = b.tenant AND k.hash = decode(b.hash, 'hex') AND k.bytes IS NOT NULL)
      ORDER BY b.tenant, b.hash
    ON CONFLICT (tenant, hash) DO UPDATE SET bytes = excluded.bytes WHERE $S.blobs.bytes IS NULL;
END $$;`,
  `CREATE OR REPLACE FUNCTION $S.claim_1(c_tenant text[], c_name text[], c_worker text[]) RETURNS text ${settings} AS $$
DECLARE
  answers jsonb := '[]';
  s $S.streams;
  w $S.workers;
BEGIN
  PERFORM FROM $S.streams k JOIN (SELECT DISTINCT t, n FROM unnest(c_tenant, c_name) AS u(t, n)) AS u
    ON k.tenant = u.t AND k.name = u.n ORDER BY k.id FOR UPDATE OF k;
  FOR i IN 1 .. cardinality(c_name) LOOP
    IF EXISTS (SELECT FROM $S.store WHERE key = 'copy ' || c_tenant[i]) THEN
      answers := answers || jsonb_build_array(jsonb_build_array('STORE_UNUSABLE'));
      CONTINUE;
    END IF;
    IF NOT EXISTS (SELECT FROM $S.workers WHERE id = c_worker[i] AND expires > clock_timestamp()) THEN
      answers := answers || jsonb_build_array(jsonb_build_array('LEASE_EXPIRED'));
      CONTINUE;
    END IF;
    SELECT * INTO s FROM $S.streams WHERE tenant = c_tenant[i] AND name = c_name[i];
    IF NOT FOUND OR s.seq = 0 THEN
      answers := answers || jsonb_build_array(jsonb_build_array('RUN_UNKNOWN'));
      CONTINUE;
    END IF;
    IF s.archived <> 0 THEN
      answers := answers || jsonb_build_array(jsonb_build_array('RUN_ARCHIVED'));
      CONTINUE;
    END IF;
    IF s.owner <> c_worker[i] THEN
      SELECT * INTO w FROM $S.workers WHERE id = s.owner AND expires > clock_timestamp() AND NOT gone;
      IF FOUND THEN
        answers := answers ||
          jsonb_build_array(jsonb_build_array('RUN_OWNED', w.id, w.pid, w.host, w.since, w.lease));
        CONTINUE;
      END IF;
    END IF;
    UPDATE $S.streams SET epoch = epoch + 1, owner = c_worker[i] WHERE id = s.id;
    answers := answers || jsonb_build_array(jsonb_build_array('ok', s.epoch + 1, s.seq, encode(s.hash, 'hex'), s.id));
  END LOOP;
  RETURN answers::text;
END $$;`,
]

const archive = `
-- In place of the id of an archived stream: nobody reads it.
CREATE FUNCTION $S.archived_1(name text) RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
  RAISE EXCEPTION '%', name USING ERRCODE = 'CV003';
END $$;

-- Takes streams out. The answer is null when it was done, else why not: a code, the stream, a fact.
CREATE FUNCTION $S.drop_1(tenant_ text, s_name text[], s_seq int[], s_hash text[], at_ double precision)
RETURNS text ${settings} AS $$
DECLARE
  s $S.streams;
  r $S.runs;
  s_id bigint[] := '{}';
  going text[] := '{}';
  one text;
  other text;
BEGIN
  PERFORM FROM $S.streams k WHERE k.tenant = tenant_ AND k.name = ANY (s_name) ORDER BY k.id FOR UPDATE;
  FOR i IN 1 .. cardinality(s_name) LOOP
    SELECT * INTO s FROM $S.streams WHERE tenant = tenant_ AND name = s_name[i];
    IF NOT FOUND OR s.seq = 0 THEN RETURN json_build_array('RUN_UNKNOWN', s_name[i]); END IF;
    IF s.archived <> 0 THEN RETURN json_build_array('RUN_ARCHIVED', s_name[i]); END IF;
    IF s.seq <> s_seq[i] OR s.hash <> decode(s_hash[i], 'hex') THEN
      RETURN json_build_array('POSITION_STALE', s_name[i], s.seq);
    END IF;
    s_id := s_id || s.id;
    IF s_name[i] LIKE 'run/%' THEN going := going || substr(s_name[i], 5); END IF;
  END LOOP;
  FOREACH one IN ARRAY going LOOP
    SELECT * INTO r FROM $S.runs WHERE tenant = tenant_ AND run = one FOR UPDATE;
    IF NOT FOUND OR r.status NOT IN ('done', 'failed', 'cancelled', 'continued') THEN
      RETURN json_build_array('RUN_NEEDED', 'run/' || one, 'it has not ended');
    END IF;
    IF EXISTS (SELECT FROM $S.streams k JOIN $S.workers w ON w.id = k.owner
        WHERE k.id = r.stream AND w.expires > clock_timestamp()) THEN
      RETURN json_build_array('RUN_NEEDED', 'run/' || one, 'a live worker holds it');
    END IF;
    SELECT o.run INTO other FROM (
        SELECT k.run, k.doc FROM $S.runs k
          WHERE k.tenant = tenant_ AND k.doc->>'parent' IS NOT NULL AND k.doc->>'parent' = one
        UNION ALL SELECT k.run, k.doc FROM $S.runs k
          WHERE k.tenant = tenant_ AND k.doc->>'forkOf' IS NOT NULL AND k.doc->>'forkOf' = one
        UNION ALL SELECT k.run, k.doc FROM $S.runs k
          WHERE k.tenant = tenant_ AND k.run = ANY (ARRAY[r.doc->>'parent', r.doc->>'forkOf'])) AS o
      WHERE NOT o.doc ? 'archived' AND o.run <> ALL (going) LIMIT 1;
    IF FOUND THEN RETURN json_build_array('RUN_NEEDED', 'run/' || one, other || ' belongs to it'); END IF;
    SELECT * INTO s FROM $S.streams WHERE tenant = tenant_ AND name = 'inbox/' || one;
    IF FOUND AND s.seq > 0 AND s.name <> ALL (s_name) THEN
      RETURN json_build_array('POSITION_STALE', s.name, s.seq);
    END IF;
  END LOOP;
  INSERT INTO $S.orphans(blob)
    SELECT DISTINCT b FROM $S.records k, unnest(k.blobs || k.spill) AS b
      WHERE k.stream = ANY (s_id) AND (k.blobs IS NOT NULL OR k.spill IS NOT NULL) AND b IS NOT NULL ORDER BY b
    ON CONFLICT (blob) DO UPDATE SET since = excluded.since;
  DELETE FROM $S.records WHERE stream = ANY (s_id);
  DELETE FROM $S.folds WHERE stream = ANY (s_id);
  DELETE FROM $S.dependents WHERE stream = ANY (s_id);
  DELETE FROM $S.messages WHERE stream = ANY (s_id);
  DELETE FROM $S.approvals WHERE tenant = tenant_ AND run = ANY (going);
  UPDATE $S.streams SET archived = seq, owner = NULL, epoch = epoch + 1 WHERE id = ANY (s_id);
  UPDATE $S.runs SET doc = doc || jsonb_build_object('archived', at_) WHERE tenant = tenant_ AND run = ANY (going);
  -- Builds that know nothing of archives may not open the store any more.
  UPDATE $S.store SET value = '6' WHERE key = 'oldest' AND value::int < 6;
  RETURN NULL;
END $$;

-- Records of archived streams, at the positions that they had; in a copy of the store those may be of others. Null when all stand there now; else what does not fit.
CREATE FUNCTION $S.restore_1(
  tenant_ text, s_name text[], r_stream int[], r_position bigint[], r_seq int[], r_epoch int[], r_at double precision[],
  r_shape int[], r_sums text[], r_path text[], r_fold text[], r_causes text[], r_blobs text[], r_spill text[], r_payload text[],
  d_stream int[], d_seq int[], d_ref text[], f_stream int[], f_path text[], m_stream int[], m_id text[], m_seq int[]
) RETURNS text ${settings} AS $$
DECLARE
  s_id bigint[];
  wrong text;
  ends bigint;
BEGIN
  SELECT last_value INTO ends FROM $S.positions;
  PERFORM FROM $S.streams k WHERE k.tenant = tenant_ AND k.name = ANY (s_name) ORDER BY k.id FOR UPDATE;
  SELECT array_agg(k.id ORDER BY u.o) INTO s_id FROM unnest(s_name) WITH ORDINALITY AS u(name, o)
    JOIN $S.streams k ON k.tenant = tenant_ AND k.name = u.name AND k.archived <> 0;
  -- Somebody else has brought them back.
  IF cardinality(s_id) IS DISTINCT FROM cardinality(s_name) THEN RETURN json_build_array('place', s_name[1]); END IF;
  SELECT json_build_array('blob', h)::text INTO wrong
    FROM unnest(r_blobs, r_spill) AS r(blobs, spill), unnest(string_to_array(concat_ws(' ', r.blobs, r.spill), ' ')) AS h
    WHERE (r.blobs IS NOT NULL OR r.spill IS NOT NULL)
      AND NOT EXISTS (SELECT FROM $S.blobs k WHERE k.tenant = tenant_ AND k.hash = decode(h, 'hex')) LIMIT 1;
  IF wrong IS NOT NULL THEN RETURN wrong; END IF;
  INSERT INTO $S.records(position, stream, seq, epoch, at, shape, sums, path, fold, causes, blobs, spill, payload)
    SELECT CASE WHEN r.position <= ends AND NOT EXISTS (SELECT FROM $S.records k WHERE k.position = r.position)
          THEN r.position ELSE nextval('$S.positions') END, s_id[r.stream], r.seq, r.epoch, r.at, r.shape, decode(r.sums, 'hex'), r.path, r.fold, r.causes,
        CASE WHEN r.blobs IS NOT NULL THEN $S.blob_ids_1(tenant_, r.blobs) END,
        CASE WHEN r.spill IS NOT NULL THEN ($S.blob_ids_1(tenant_, r.spill))[1] END, r.payload
      FROM unnest(r_stream, r_position, r_seq, r_epoch, r_at, r_shape, r_sums, r_path, r_fold, r_causes, r_blobs, r_spill,
        r_payload) AS r(stream, position, seq, epoch, at, shape, sums, path, fold, causes, blobs, spill, payload)
      WHERE NOT EXISTS (SELECT FROM $S.records k WHERE k.stream = s_id[r.stream] AND k.seq = r.seq);
  INSERT INTO $S.dependents(tenant, ref, stream, seq)
    SELECT tenant_, d.ref, s_id[d.stream], d.seq FROM unnest(d_stream, d_seq, d_ref) AS d(stream, seq, ref)
    ON CONFLICT DO NOTHING;
  INSERT INTO $S.folds(stream, path)
    SELECT s_id[f.stream], f.path FROM unnest(f_stream, f_path) AS f(stream, path) ON CONFLICT DO NOTHING;
  INSERT INTO $S.messages(stream, id, seq)
    SELECT s_id[m.stream], m.id, m.seq FROM unnest(m_stream, m_id, m_seq) AS m(stream, id, seq) ON CONFLICT DO NOTHING;
  RETURN NULL;
END $$;

-- Opens archived streams again, all of whose records are back, with what those say of approvals.
CREATE FUNCTION $S.reopen_1(tenant_ text, s_name text[], changes jsonb) RETURNS text ${settings} AS $$
DECLARE
  s $S.streams;
  n int;
  c jsonb;
BEGIN
  PERFORM FROM $S.streams k WHERE k.tenant = tenant_ AND k.name = ANY (s_name) ORDER BY k.id FOR UPDATE;
  FOR s IN SELECT * FROM $S.streams k WHERE k.tenant = tenant_ AND k.name = ANY (s_name) AND k.archived <> 0 ORDER BY k.id LOOP
    SELECT count(*) INTO n FROM $S.records r WHERE r.stream = s.id;
    IF n <> s.archived THEN RETURN json_build_array(s.name, n, s.archived); END IF;
    UPDATE $S.streams SET archived = 0 WHERE id = s.id;
    IF s.name LIKE 'run/%' THEN
      UPDATE $S.runs SET doc = doc - 'archived' WHERE tenant = tenant_ AND run = substr(s.name, 5);
    END IF;
  END LOOP;
  FOR c IN SELECT value FROM jsonb_array_elements(changes) WITH ORDINALITY ORDER BY ordinality LOOP
    PERFORM $S.apply_1(tenant_, (c->>'stream')::bigint, (c->>'inbox')::boolean, c);
  END LOOP;
  RETURN NULL;
END $$;`

export const archiveFunctions: string = [...replaced, archive].join('\n')
