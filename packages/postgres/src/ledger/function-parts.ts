import { settings } from './function-settings.ts'

// What `append_1` (functions.ts) is made of: guards, projections, blobs.

export const guards: string = `
-- Holds the guards of one append, in their order; the first that does not is told.
CREATE FUNCTION $S.guard_1(a int, list jsonb, s_id bigint[]) RETURNS jsonb ${settings} AS $$
DECLARE
  g jsonb;
  holder text;
  stands double precision;
  ends int;
BEGIN
  FOR g IN SELECT value FROM jsonb_array_elements(list) WITH ORDINALITY WHERE (value->>'a')::int = a ORDER BY ordinality LOOP
    CASE g->>'kind'
    WHEN 'unique' THEN
      INSERT INTO $S.uniques(tenant, key, owner) VALUES (g->>'tenant', g->>'key', g->>'owner') ON CONFLICT DO NOTHING;
      SELECT owner INTO holder FROM $S.uniques WHERE tenant = g->>'tenant' AND key = g->>'key';
      IF holder <> g->>'owner' THEN RETURN jsonb_build_array(a, 'UNIQUE_TAKEN', g->>'key', holder); END IF;
    WHEN 'counter' THEN
      CONTINUE WHEN EXISTS (SELECT FROM $S.counted
        WHERE tenant = g->>'tenant' AND counter = g->>'counter' AND key = g->>'key');
      SELECT total INTO stands FROM $S.counters WHERE tenant = g->>'tenant' AND counter = g->>'counter';
      IF (g->>'add')::double precision > (g->>'max')::double precision - stands THEN
        RETURN jsonb_build_array(a, 'COUNTER_EXCEEDED', g->>'counter', stands, g->'add', g->'max');
      END IF;
      INSERT INTO $S.counted(tenant, counter, key, added)
        VALUES (g->>'tenant', g->>'counter', g->>'key', (g->>'add')::double precision);
      UPDATE $S.counters SET total = total + (g->>'add')::double precision
        WHERE tenant = g->>'tenant' AND counter = g->>'counter';
    ELSE
      SELECT seq INTO ends FROM $S.streams WHERE id = s_id[(g->>'s')::int];
      IF ends <> (g->>'seq')::int THEN
        RETURN jsonb_build_array(a, 'INBOX_ADVANCED', g->>'stream', ends, g->'seq');
      END IF;
    END CASE;
  END LOOP;
  RETURN NULL;
END $$;

-- The same in a subtransaction, for appends with several guards: a refused one takes back what the others reserved.
CREATE FUNCTION $S.guard_all_1(a int, list jsonb, s_id bigint[]) RETURNS jsonb ${settings} AS $$
DECLARE
  refused jsonb;
BEGIN
  BEGIN
    refused := $S.guard_1(a, list, s_id);
    IF refused IS NOT NULL THEN RAISE EXCEPTION 'refused' USING ERRCODE = 'CV002'; END IF;
  EXCEPTION WHEN SQLSTATE 'CV002' THEN NULL;
  END;
  RETURN refused;
END $$;`

export const projections: string = `
-- Merges what a record says of a run or an approval. True when somebody may want to know.
CREATE FUNCTION $S.apply_1(tenant_ text, stream_ bigint, inbox boolean, c jsonb) RETURNS boolean ${settings} AS $$
DECLARE
  merged jsonb;
  waked double precision;
BEGIN
  CASE c->>'kind'
  WHEN 'run' THEN
    SELECT (doc - ARRAY(SELECT jsonb_array_elements_text(c->'clear'))) || (c->'set') INTO merged
      FROM $S.runs WHERE tenant = tenant_ AND run = c->>'id' FOR UPDATE;
    IF FOUND THEN
      UPDATE $S.runs SET doc = merged, status = merged->>'status', due = (merged->>'due')::double precision,
        priority = (merged->>'priority')::double precision WHERE tenant = tenant_ AND run = c->>'id';
      RETURN true;
    END IF;
    IF c->'set'->>'workflow' IS NULL THEN RETURN false; END IF;
    merged := c->'set';
    INSERT INTO $S.runs(tenant, run, stream, workflow, status, due, priority, started, doc) VALUES (
      tenant_, c->>'id', stream_, merged->>'workflow', merged->>'status', (merged->>'due')::double precision,
      (merged->>'priority')::double precision, (merged->>'startedAt')::double precision, merged);
    RETURN true;
  WHEN 'wake' THEN
    SELECT due INTO waked FROM $S.runs WHERE tenant = tenant_ AND run = c->>'id'
      AND status NOT IN ('done', 'failed', 'cancelled', 'continued') FOR UPDATE;
    IF NOT FOUND THEN RETURN false; END IF;
    IF waked IS NULL OR waked > (c->>'at')::double precision THEN
      UPDATE $S.runs SET due = (c->>'at')::double precision, doc = doc || jsonb_build_object('due', c->'at')
        WHERE tenant = tenant_ AND run = c->>'id';
    END IF;
    RETURN true;
  ELSE
    UPDATE $S.approvals SET doc = doc || (c->'set'), status = coalesce(c->'set'->>'status', status),
        requested = coalesce((c->'set'->>'requestedAt')::double precision, requested)
      WHERE tenant = tenant_ AND id = c->>'id' AND run = c->>'run' AND (status = 'pending' OR NOT inbox);
    IF FOUND THEN RETURN true; END IF;
    IF c->'set'->>'ref' IS NULL THEN RETURN false; END IF;
    INSERT INTO $S.approvals(tenant, id, run, status, requested, doc) VALUES (
      tenant_, c->>'id', c->'set'->>'run', c->'set'->>'status', (c->'set'->>'requestedAt')::double precision, c->'set')
      ON CONFLICT DO NOTHING;
    RETURN FOUND;
  END CASE;
END $$;`

export const blobs: string = `
CREATE FUNCTION $S.blob_ids_1(tenant_ text, hashes text) RETURNS bigint[] STABLE ${settings} AS $$
BEGIN
  RETURN (SELECT array_agg(b.id ORDER BY h.ordinality) FROM unnest(string_to_array(hashes, ' ')) WITH ORDINALITY h(hash, ordinality)
    JOIN $S.blobs b ON b.tenant = tenant_ AND b.hash = decode(h.hash, 'hex'));
END $$;

CREATE FUNCTION $S.put_blobs_1(b_tenant text[], b_hash text[], b_type text[], b_bytes text[]) RETURNS void ${settings} AS $$
BEGIN
  INSERT INTO $S.blobs(tenant, hash, type, bytes)
    SELECT DISTINCT ON (b.tenant, b.hash) b.tenant, decode(b.hash, 'hex'), b.type, decode(b.bytes, 'hex')
      FROM unnest(b_tenant, b_hash, b_type, b_bytes) AS b(tenant, hash, type, bytes)
      WHERE NOT EXISTS (SELECT FROM $S.blobs k
        WHERE k.tenant = b.tenant AND k.hash = decode(b.hash, 'hex') AND k.bytes IS NOT NULL)
      ORDER BY b.tenant, b.hash
    ON CONFLICT (tenant, hash) DO UPDATE SET bytes = excluded.bytes WHERE $S.blobs.bytes IS NULL;
END $$;`
