import { settings } from './function-settings.ts'

// Records of a copy: of any epoch and also of inboxes, in their commit order. Only position and hash count.

export const copies: string = `
-- The answer is null when all of it stands there now, else what does not fit: 'place', stream, its seq; or 'blob', hash.
CREATE FUNCTION $S.import_1(
  tenant_ text, s_name text[], s_first int[], s_prev text[], s_last int[], s_hash text[],
  r_stream int[], r_seq int[], r_epoch int[], r_at double precision[], r_shape int[], r_sums text[],
  r_path text[], r_fold text[], r_causes text[], r_blobs text[], r_spill text[], r_payload text[],
  d_stream int[], d_seq int[], d_ref text[], f_stream int[], f_path text[], changes jsonb
) RETURNS text ${settings} AS $$
DECLARE
  s_id bigint[];
  wrong text;
  c jsonb;
BEGIN
  INSERT INTO $S.streams(tenant, name) SELECT tenant_, n FROM unnest(s_name) AS n ORDER BY n ON CONFLICT DO NOTHING;
  SELECT array_agg(k.id ORDER BY u.o) INTO s_id
    FROM unnest(s_name) WITH ORDINALITY AS u(name, o) JOIN $S.streams k ON k.tenant = tenant_ AND k.name = u.name;
  PERFORM FROM $S.streams k WHERE k.id = ANY (s_id) ORDER BY k.id FOR UPDATE;
  -- The answer to the same call was lost on its way.
  IF NOT EXISTS (SELECT FROM unnest(s_id, s_last, s_hash) AS u(id, last, hash) JOIN $S.streams k ON k.id = u.id
      WHERE k.seq <> u.last OR k.hash <> decode(u.hash, 'hex')) THEN
    RETURN NULL;
  END IF;
  SELECT json_build_array('place', k.name, k.seq)::text INTO wrong
    FROM unnest(s_id, s_first, s_prev) AS u(id, first, prev) JOIN $S.streams k ON k.id = u.id
    WHERE k.seq <> u.first - 1 OR k.hash <> decode(u.prev, 'hex') LIMIT 1;
  IF wrong IS NOT NULL THEN RETURN wrong; END IF;
  SELECT json_build_array('blob', h)::text INTO wrong
    FROM unnest(r_blobs, r_spill) AS r(blobs, spill), unnest(string_to_array(concat_ws(' ', r.blobs, r.spill), ' ')) AS h
    WHERE (r.blobs IS NOT NULL OR r.spill IS NOT NULL)
      AND NOT EXISTS (SELECT FROM $S.blobs k WHERE k.tenant = tenant_ AND k.hash = decode(h, 'hex')) LIMIT 1;
  IF wrong IS NOT NULL THEN RETURN wrong; END IF;
  INSERT INTO $S.records(stream, seq, epoch, at, shape, sums, path, fold, causes, blobs, spill, payload)
    SELECT s_id[r.stream], r.seq, r.epoch, r.at, r.shape, decode(r.sums, 'hex'), r.path, r.fold, r.causes,
        CASE WHEN r.blobs IS NOT NULL THEN $S.blob_ids_1(tenant_, r.blobs) END,
        CASE WHEN r.spill IS NOT NULL THEN ($S.blob_ids_1(tenant_, r.spill))[1] END, r.payload
      FROM unnest(r_stream, r_seq, r_epoch, r_at, r_shape, r_sums, r_path, r_fold, r_causes, r_blobs, r_spill, r_payload)
        AS r(stream, seq, epoch, at, shape, sums, path, fold, causes, blobs, spill, payload);
  UPDATE $S.streams k SET seq = u.last, hash = decode(u.hash, 'hex')
    FROM unnest(s_id, s_last, s_hash) AS u(id, last, hash) WHERE k.id = u.id;
  INSERT INTO $S.dependents(tenant, ref, stream, seq)
    SELECT tenant_, d.ref, s_id[d.stream], d.seq FROM unnest(d_stream, d_seq, d_ref) AS d(stream, seq, ref)
    ON CONFLICT DO NOTHING;
  INSERT INTO $S.folds(stream, path)
    SELECT s_id[f.stream], f.path FROM unnest(f_stream, f_path) AS f(stream, path) ON CONFLICT DO NOTHING;
  FOR c IN SELECT value FROM jsonb_array_elements(changes) WITH ORDINALITY ORDER BY ordinality LOOP
    PERFORM $S.apply_1(tenant_, s_id[(c->>'s')::int], (c->>'inbox')::boolean, c);
  END LOOP;
  RETURN NULL;
END $$;`
