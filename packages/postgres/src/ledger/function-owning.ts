import { settings } from './function-settings.ts'

// Who owns which run: claims, workers and their leases (leases.ts says why it is safe); and what is made once.

export const owning: string = `
CREATE FUNCTION $S.claim_1(c_tenant text[], c_name text[], c_worker text[]) RETURNS text ${settings} AS $$
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
END $$;

CREATE FUNCTION $S.release_1(c_tenant text[], c_name text[], c_epoch int[]) RETURNS boolean ${settings} AS $$
BEGIN
  PERFORM FROM $S.streams k JOIN (SELECT DISTINCT t, n FROM unnest(c_tenant, c_name) AS u(t, n)) AS u
    ON k.tenant = u.t AND k.name = u.n ORDER BY k.id FOR UPDATE OF k;
  UPDATE $S.streams k SET owner = NULL FROM unnest(c_tenant, c_name, c_epoch) AS u(t, n, epoch)
    WHERE k.tenant = u.t AND k.name = u.n AND k.epoch = u.epoch AND k.owner IS NOT NULL;
  RETURN FOUND;
END $$;

-- The advisory lock that a worker's session holds while it lives.
CREATE FUNCTION $S.lock_of_1(worker text) RETURNS bigint IMMUTABLE LANGUAGE sql AS
  $$ SELECT hashtextextended('$S worker ' || worker, 2026) $$;

-- To be called in the session that stands for the worker. The lock first: a row without it means a lost session.
CREATE FUNCTION $S.register_1(worker text, nonce_ text, host_ text, pid_ int, since_ double precision, lease_ int)
RETURNS boolean ${settings} AS $$
BEGIN
  DELETE FROM $S.workers WHERE expires <= clock_timestamp();
  PERFORM pg_try_advisory_lock($S.lock_of_1(worker));
  INSERT INTO $S.workers(id, nonce, host, pid, since, lease, expires)
    VALUES (worker, nonce_, host_, pid_, since_, lease_, clock_timestamp() + lease_ * interval '1 ms') ON CONFLICT DO NOTHING;
  RETURN EXISTS (SELECT FROM $S.workers WHERE id = worker AND nonce = nonce_);
END $$;

-- Renews leases that have not passed, and takes the locks that this session wants yet.
CREATE FUNCTION $S.renew_1(list text[], want text[]) RETURNS text ${settings} AS $$
DECLARE
  locked text[];
  kept text[];
BEGIN
  SELECT coalesce(array_agg(u.id), '{}') INTO locked FROM unnest(want) AS u(id)
    WHERE pg_try_advisory_lock($S.lock_of_1(u.id));
  WITH renewed AS (
    UPDATE $S.workers SET expires = clock_timestamp() + lease * interval '1 ms',
        gone = gone AND id = ANY (want) AND id <> ALL (locked)
      WHERE id = ANY (list) AND expires > clock_timestamp() RETURNING id)
  SELECT coalesce(array_agg(id), '{}') INTO kept FROM renewed;
  RETURN json_build_object('kept', kept, 'locked', locked)::text;
END $$;

-- Looks after all workers: removes those whose lease has passed, and marks as gone those whose session has been away
-- for grace milliseconds, whoever saw it first. A server that has just started has lost all sessions: that says nothing.
CREATE FUNCTION $S.look_after_1(grace int) RETURNS text ${settings} AS $$
DECLARE
  held bigint[];
  changed boolean;
BEGIN
  DELETE FROM $S.workers WHERE expires <= clock_timestamp();
  changed := FOUND;
  IF pg_postmaster_start_time() < clock_timestamp() - interval '3 s' THEN
    held := ARRAY(SELECT (l.classid::bigint << 32) | l.objid::bigint FROM pg_locks l
      WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted
        AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()));
    UPDATE $S.workers SET suspected = NULL WHERE suspected IS NOT NULL AND $S.lock_of_1(id) = ANY (held);
    UPDATE $S.workers SET gone = true, suspected = NULL
      WHERE suspected < clock_timestamp() - grace * interval '1 ms' AND NOT gone AND $S.lock_of_1(id) <> ALL (held);
    changed := FOUND OR changed;
    UPDATE $S.workers SET suspected = clock_timestamp()
      WHERE suspected IS NULL AND NOT gone AND $S.lock_of_1(id) <> ALL (held);
  END IF;
  RETURN json_build_object('changed', changed, 'workers', (SELECT count(*) FROM $S.workers))::text;
END $$;

-- Whether the worker may still act. The answer false is final: its row is gone, and nothing brings it back.
CREATE FUNCTION $S.is_alive_1(worker text) RETURNS boolean ${settings} AS $$
BEGIN
  DELETE FROM $S.workers WHERE id = worker AND expires <= clock_timestamp();
  RETURN EXISTS (SELECT FROM $S.workers WHERE id = worker);
END $$;

CREATE FUNCTION $S.tenant_key_1(tenant_ text, fresh bytea) RETURNS bytea ${settings} AS $$
BEGIN
  INSERT INTO $S.tenants(tenant, key) VALUES (tenant_, fresh) ON CONFLICT DO NOTHING;
  RETURN (SELECT key FROM $S.tenants WHERE tenant = tenant_);
END $$;

CREATE FUNCTION $S.shapes_1(texts text[]) RETURNS text ${settings} AS $$
BEGIN
  INSERT INTO $S.shapes(hash, text) SELECT DISTINCT ON (hash) sha256(convert_to(t, 'UTF8')) AS hash, t FROM unnest(texts) AS t
    ORDER BY hash ON CONFLICT DO NOTHING;
  RETURN (SELECT json_agg(k.id ORDER BY u.o)::text FROM unnest(texts) WITH ORDINALITY AS u(t, o)
    JOIN $S.shapes k ON k.hash = sha256(convert_to(u.t, 'UTF8')));
END $$;`
