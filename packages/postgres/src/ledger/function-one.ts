import { settings } from './function-settings.ts'

/**
 * The hot path: one append of records to one stream that is known, with nothing rare about it (no guards, posts, blobs,
 * changes of projections). A chain of steps is made of these, one after the other, so what counts is how few statements
 * they take. False when anything is not as expected: then nothing was done, and `append_1` (functions.ts) does it or says
 * why not.
 */
export const appendOne: string = `
CREATE FUNCTION $S.append_one_1(
  s bigint, epoch_ int, first int, prev text, last int, hash_ text,
  r_seq int[], r_at double precision[], r_shape int[], r_sums text[], r_path text[], r_fold text[], r_causes text[],
  r_payload text[], d_seq int[], d_ref text[], f_path text[]
) RETURNS boolean ${settings} AS $$
BEGIN
  UPDATE $S.streams k SET seq = last, hash = decode(hash_, 'hex')
    WHERE k.id = s AND k.epoch = epoch_ AND k.seq = first - 1 AND k.hash = decode(prev, 'hex')
      AND (epoch_ <> 0 OR k.seq = 0 OR k.name NOT LIKE 'run/%')
      AND (k.owner IS NULL OR EXISTS
        (SELECT FROM $S.workers w WHERE w.id = k.owner AND w.expires > clock_timestamp()));
  IF NOT FOUND THEN RETURN false; END IF;
  INSERT INTO $S.records(stream, seq, epoch, at, shape, sums, path, fold, causes, payload)
    SELECT s, r.seq, epoch_, r.at, r.shape, decode(r.sums, 'hex'), r.path, r.fold, r.causes, r.payload
      FROM unnest(r_seq, r_at, r_shape, r_sums, r_path, r_fold, r_causes, r_payload)
        AS r(seq, at, shape, sums, path, fold, causes, payload);
  IF d_seq IS NOT NULL THEN
    INSERT INTO $S.dependents(tenant, ref, stream, seq)
      SELECT k.tenant, d.ref, s, d.seq FROM unnest(d_seq, d_ref) AS d(seq, ref), $S.streams k WHERE k.id = s
      ON CONFLICT DO NOTHING;
  END IF;
  IF f_path IS NOT NULL THEN
    INSERT INTO $S.folds(stream, path) SELECT s, path FROM unnest(f_path) AS path ON CONFLICT DO NOTHING;
  END IF;
  RETURN true;
END $$;`
