import { blobs, guards, projections } from './function-parts.ts'
import { settings } from './function-settings.ts'

// What the store does in one round trip. `$S` stands for the schema's quoted name. The functions are part of a migration:
// a changed one gets a new number (`append_2`) beside the old, which workers of the version before still call.
//
// Order of locks, the same in every call, so that calls wait for each other and never in a circle: new streams by name,
// streams by id, counters by name, then everything else; runs and approvals by name.

/** Says why the append \`a\` cannot be made as it is; see \`append_1\`. */
export const explain: string = `
CREATE FUNCTION $S.explain_1(
  a int, s_id bigint[], p_append int[], p_stream int[], p_epoch int[], p_first int[], p_prev text[], p_refuse int[],
  r_part int[], r_seq int[], r_sums text[]
) RETURNS jsonb ${settings} AS $$
DECLARE
  s $S.streams;
  known int;
  total int;
  skipped int[] := '{}';
  fresh int := 0;
BEGIN
  FOR p IN 1 .. cardinality(p_append) LOOP
    CONTINUE WHEN p_append[p] <> a;
    SELECT * INTO s FROM $S.streams WHERE id = s_id[p_stream[p]];
    SELECT count(*), count(k.seq) INTO total, known
      FROM unnest(r_part, r_seq, r_sums) AS r(part, seq, sums)
      LEFT JOIN $S.records k ON k.stream = s.id AND k.seq = r.seq AND substr(k.sums, 1, 32) = decode(left(r.sums, 64), 'hex')
      WHERE r.part = p;
    skipped := skipped || known;
    CONTINUE WHEN known = total;
    IF p_refuse[p] = 1 THEN RETURN jsonb_build_array(a, 'INPUT_INVALID', s.name); END IF;
    IF s.epoch <> p_epoch[p] OR p_refuse[p] = 2
      OR (s.name LIKE 'run/%' AND p_epoch[p] = 0 AND s.seq > 0 AND p_first[p] + known <> 1) THEN
      RETURN jsonb_build_array(a, 'EPOCH_STALE', s.name, s.epoch, p_epoch[p]);
    END IF;
    IF s.owner IS NOT NULL AND NOT EXISTS
      (SELECT FROM $S.workers w WHERE w.id = s.owner AND w.expires > clock_timestamp()) THEN
      RETURN jsonb_build_array(a, 'LEASE_EXPIRED', s.name, s.owner);
    END IF;
    IF p_refuse[p] = 3 OR s.seq <> p_first[p] + known - 1 OR (known = 0 AND s.hash <> decode(p_prev[p], 'hex')) THEN
      RETURN jsonb_build_array(a, 'POSITION_STALE', s.name, s.seq, p_first[p] + known);
    END IF;
    fresh := fresh + total - known;
  END LOOP;
  -- All of it stands there, or a part of it: then the rest is to be sent.
  RETURN jsonb_build_array(a, CASE WHEN fresh = 0 THEN 'same' ELSE 'rest' END, skipped);
END $$;`

// Appends come as columns: `s_` the streams that any of them concerns, `p_` parts (records of one stream), `r_` records,
// `d_` causes in other streams, `f_` finished folds, `b_` blobs. `x` has what is rarer: guards, posts, changes of
// projections. All numbers that name another row count from 1. The answer is null when all was made and nothing is to be
// told; else what was refused and why, which streams have which ids, where posts stand, whether others may want to know.
export const append: string = `
CREATE FUNCTION $S.append_1(
  s_id bigint[], s_tenant text[], s_name text[],
  p_append int[], p_stream int[], p_epoch int[], p_first int[], p_prev text[], p_last int[], p_hash text[], p_refuse int[],
  r_part int[], r_seq int[], r_at double precision[], r_shape int[], r_sums text[], r_path text[], r_fold text[],
  r_causes text[], r_blobs text[], r_spill text[], r_payload text[],
  d_part int[], d_seq int[], d_ref text[], f_part int[], f_path text[],
  b_append int[], b_tenant text[], b_hash text[], b_type text[], b_bytes text[],
  x jsonb
) RETURNS text ${settings} AS $$
DECLARE
  refused int[];
  answers jsonb := '[]';
  posted jsonb := '[]';
  told boolean := false;
  born boolean := false;
  answer jsonb;
  one int;
  n bigint;
  m jsonb;
  c jsonb;
  s $S.streams;
  missing text;
  place int;
  fresh bytea;
  salt text;
BEGIN
  IF array_position(s_id, NULL) IS NOT NULL THEN
    born := true;
    INSERT INTO $S.streams(tenant, name)
      SELECT u.tenant, u.name FROM unnest(s_id, s_tenant, s_name) AS u(id, tenant, name) WHERE u.id IS NULL
        ORDER BY u.tenant, u.name
      ON CONFLICT DO NOTHING;
    SELECT array_agg(coalesce(u.id, k.id) ORDER BY u.o) INTO s_id
      FROM unnest(s_id, s_tenant, s_name) WITH ORDINALITY AS u(id, tenant, name, o)
      LEFT JOIN $S.streams k ON u.id IS NULL AND k.tenant = u.tenant AND k.name = u.name;
  END IF;
  PERFORM FROM $S.streams k WHERE k.id = ANY (s_id) ORDER BY k.id FOR UPDATE;
  GET DIAGNOSTICS n = ROW_COUNT;
  -- The database is another than the one that gave these ids: restored, or its last commits lost in a fail-over.
  IF n <> cardinality(s_id) THEN RAISE EXCEPTION 'a stream is unknown' USING ERRCODE = 'CV001'; END IF;
  IF x->'guards' IS NOT NULL THEN
    INSERT INTO $S.counters(tenant, counter)
      SELECT DISTINCT g->>'tenant', g->>'counter' FROM jsonb_array_elements(x->'guards') AS g WHERE g->>'kind' = 'counter'
        ORDER BY 1, 2
      ON CONFLICT DO NOTHING;
    PERFORM FROM $S.counters k JOIN (
        SELECT DISTINCT g->>'tenant' AS tenant, g->>'counter' AS counter FROM jsonb_array_elements(x->'guards') AS g
      ) AS g USING (tenant, counter) ORDER BY k.tenant, k.counter FOR UPDATE OF k;
  END IF;

  SELECT array_agg(DISTINCT p.append) INTO refused
    FROM unnest(p_append, p_stream, p_epoch, p_first, p_prev, p_refuse) AS p(append, stream, epoch, first, prev, refuse)
    JOIN $S.streams k ON k.id = s_id[p.stream]
    WHERE p.refuse <> 0 OR k.epoch <> p.epoch OR k.seq <> p.first - 1 OR k.hash <> decode(p.prev, 'hex')
      OR (p.epoch = 0 AND k.seq > 0 AND k.name LIKE 'run/%')
      OR (k.owner IS NOT NULL AND NOT EXISTS
        (SELECT FROM $S.workers w WHERE w.id = k.owner AND w.expires > clock_timestamp()));
  IF refused IS NULL THEN
    refused := '{}';
  ELSE
    FOREACH one IN ARRAY refused LOOP
      answers := answers || jsonb_build_array(
        $S.explain_1(one, s_id, p_append, p_stream, p_epoch, p_first, p_prev, p_refuse, r_part, r_seq, r_sums));
    END LOOP;
  END IF;

  -- Blobs that records refer to: given with their append, or stored.
  FOR one, missing IN
    SELECT DISTINCT ON (append) append, hash FROM (
      SELECT p_append[r.part] AS append, s_tenant[p_stream[r.part]] AS tenant, h AS hash
        FROM unnest(r_part, r_blobs, r_spill) AS r(part, blobs, spill),
          unnest(string_to_array(concat_ws(' ', r.blobs, r.spill), ' ')) AS h
        WHERE r.blobs IS NOT NULL OR r.spill IS NOT NULL) AS needed
      WHERE append <> ALL (refused)
        AND NOT EXISTS (SELECT FROM unnest(b_append, b_hash) AS b(append, hash)
          WHERE b.append = needed.append AND b.hash = needed.hash)
        AND NOT EXISTS (SELECT FROM $S.blobs k
          WHERE k.tenant = needed.tenant AND k.hash = decode(needed.hash, 'hex') AND k.bytes IS NOT NULL)
  LOOP
    answers := answers || jsonb_build_array(jsonb_build_array(one, 'BLOB_MISSING', missing));
    refused := refused || one;
  END LOOP;

  IF x->'guards' IS NOT NULL THEN
    FOR one, n IN
      SELECT (g->>'a')::int, count(*) FROM jsonb_array_elements(x->'guards') AS g GROUP BY 1 ORDER BY 1
    LOOP
      CONTINUE WHEN one = ANY (refused);
      IF n = 1 THEN answer := $S.guard_1(one, x->'guards', s_id);
      ELSE answer := $S.guard_all_1(one, x->'guards', s_id);
      END IF;
      IF answer IS NOT NULL THEN
        answers := answers || jsonb_build_array(answer);
        refused := refused || one;
      END IF;
    END LOOP;
  END IF;

  IF cardinality(b_hash) > 0 THEN
    PERFORM $S.put_blobs_1(array_agg(b.tenant), array_agg(b.hash), array_agg(b.type), array_agg(b.bytes))
      FROM unnest(b_append, b_tenant, b_hash, b_type, b_bytes) AS b(append, tenant, hash, type, bytes)
      WHERE b.append <> ALL (refused);
  END IF;
  INSERT INTO $S.records(stream, seq, epoch, at, shape, sums, path, fold, causes, blobs, spill, payload)
    SELECT s_id[p_stream[r.part]], r.seq, p_epoch[r.part], r.at, r.shape, decode(r.sums, 'hex'), r.path, r.fold, r.causes,
        CASE WHEN r.blobs IS NOT NULL THEN $S.blob_ids_1(s_tenant[p_stream[r.part]], r.blobs) END,
        CASE WHEN r.spill IS NOT NULL THEN ($S.blob_ids_1(s_tenant[p_stream[r.part]], r.spill))[1] END,
        r.payload
      FROM unnest(r_part, r_seq, r_at, r_shape, r_sums, r_path, r_fold, r_causes, r_blobs, r_spill, r_payload)
        AS r(part, seq, at, shape, sums, path, fold, causes, blobs, spill, payload)
      WHERE p_append[r.part] <> ALL (refused);
  UPDATE $S.streams k SET seq = p.last, hash = decode(p.hash, 'hex')
    FROM unnest(p_append, p_stream, p_last, p_hash) AS p(append, stream, last, hash)
    WHERE k.id = s_id[p.stream] AND p.append <> ALL (refused);
  IF cardinality(d_ref) > 0 THEN
    INSERT INTO $S.dependents(tenant, ref, stream, seq)
      SELECT s_tenant[p_stream[d.part]], d.ref, s_id[p_stream[d.part]], d.seq
        FROM unnest(d_part, d_seq, d_ref) AS d(part, seq, ref) WHERE p_append[d.part] <> ALL (refused)
      ON CONFLICT DO NOTHING;
  END IF;
  IF cardinality(f_path) > 0 THEN
    INSERT INTO $S.folds(stream, path)
      SELECT s_id[p_stream[f.part]], f.path FROM unnest(f_part, f_path) AS f(part, path)
        WHERE p_append[f.part] <> ALL (refused)
      ON CONFLICT DO NOTHING;
  END IF;

  IF x IS NOT NULL THEN
    FOR m IN
      SELECT value FROM jsonb_array_elements(x->'posts') WITH ORDINALITY WHERE (value->>'a')::int <> ALL (refused)
        ORDER BY ordinality
    LOOP
      SELECT * INTO s FROM $S.streams WHERE id = s_id[(m->>'s')::int];
      SELECT k.seq, encode(substr(r.sums, 65), 'hex') INTO place, salt FROM $S.messages k
        LEFT JOIN $S.records r ON r.stream = k.stream AND r.seq = k.seq WHERE k.stream = s.id AND k.id = m->>'id';
      IF FOUND THEN
        -- Our own salt: the answer to the same call was lost on its way.
        posted := posted || jsonb_build_array(jsonb_build_array(m->'a', place, salt IS DISTINCT FROM m->>'salt'));
        CONTINUE;
      END IF;
      place := s.seq + 1;
      fresh := sha256(convert_to(concat(m->>'before', encode(s.hash, 'hex'), '","seq":', place, m->>'after'), 'UTF8'));
      INSERT INTO $S.records(stream, seq, epoch, at, shape, sums, causes, blobs, spill, payload) VALUES (
        s.id, place, 0, (m->>'at')::double precision, (m->>'shape')::int,
        fresh || decode(m->>'commitment', 'hex') || decode(m->>'salt', 'hex'), m->>'causes',
        $S.blob_ids_1(s.tenant, m->>'spill'), ($S.blob_ids_1(s.tenant, m->>'spill'))[1], m->>'payload');
      UPDATE $S.streams SET seq = place, hash = fresh WHERE id = s.id;
      INSERT INTO $S.messages(stream, id, seq) VALUES (s.id, m->>'id', place);
      INSERT INTO $S.dependents(tenant, ref, stream, seq)
        SELECT s.tenant, ref, s.id, place FROM jsonb_array_elements_text(m->'foreign') AS ref ON CONFLICT DO NOTHING;
      posted := posted || jsonb_build_array(jsonb_build_array(m->'a', place, false));
      told := true;
      x := jsonb_set(x, '{changes}', coalesce(x->'changes', '[]') || coalesce(m->'changes', '[]'));
    END LOOP;
    FOR c IN
      SELECT value FROM jsonb_array_elements(x->'changes') WITH ORDINALITY WHERE (value->>'a')::int <> ALL (refused)
        ORDER BY value->>'kind' = 'approval', s_tenant[(value->>'s')::int], value->>'id' COLLATE "C", ordinality
    LOOP
      told := $S.apply_1(s_tenant[(c->>'s')::int], s_id[(c->>'s')::int], (c->>'inbox')::boolean, c) OR told;
    END LOOP;
  END IF;

  IF NOT (told OR born) AND cardinality(refused) = 0 AND posted = '[]' THEN RETURN NULL; END IF;
  RETURN json_build_object('answers', answers, 'posted', posted, 'told', told,
    'ids', CASE WHEN born THEN s_id END)::text;
END $$;`

export const functions: string = [explain, guards, projections, blobs, append].join('\n')
