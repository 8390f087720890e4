// What lists need to cost what they give, whatever is stored: tags in a table of their own (a run's tags never change,
// while its row does, so an index over the row would be written anew with every change), due runs by tenant.
//
// Filled by a trigger, since workers of the version before make runs as well.

/** Whoever may do something with runs may do the same with a table that was added: workers have a role of their own. */
export function sameGrants(table: string): string {
  return `
DO $$
DECLARE
  g record;
BEGIN
  FOR g IN SELECT a.privilege_type AS may, CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS who
      FROM pg_class c, aclexplode(c.relacl) AS a WHERE c.oid = '$S.runs'::regclass AND a.grantee <> c.relowner LOOP
    EXECUTE format('GRANT %s ON $S.${table} TO %s', g.may, g.who);
  END LOOP;
END $$;`
}

export const lists: string = `
CREATE TABLE $S.run_tags(
  tenant text COLLATE "C" NOT NULL, tag text COLLATE "C" NOT NULL, started double precision NOT NULL,
  run text COLLATE "C" NOT NULL, PRIMARY KEY(tenant, tag, started, run));
${sameGrants('run_tags')}
CREATE FUNCTION $S.tag_1() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
  INSERT INTO $S.run_tags(tenant, tag, started, run)
    SELECT NEW.tenant, t, NEW.started, NEW.run FROM jsonb_array_elements_text(NEW.doc->'tags') AS t ON CONFLICT DO NOTHING;
  RETURN NULL;
END $$;
CREATE FUNCTION $S.untag_1() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
  DELETE FROM $S.run_tags k USING jsonb_array_elements_text(OLD.doc->'tags') AS t
    WHERE k.tenant = OLD.tenant AND k.tag = t AND k.started = OLD.started AND k.run = OLD.run;
  RETURN NULL;
END $$;
LOCK TABLE $S.runs IN SHARE ROW EXCLUSIVE MODE;
CREATE TRIGGER runs_tagged AFTER INSERT ON $S.runs FOR EACH ROW
  WHEN (NEW.doc->'tags' <> '[]') EXECUTE FUNCTION $S.tag_1();
CREATE TRIGGER runs_untagged AFTER DELETE ON $S.runs FOR EACH ROW
  WHEN (OLD.doc->'tags' <> '[]') EXECUTE FUNCTION $S.untag_1();
INSERT INTO $S.run_tags(tenant, tag, started, run)
  SELECT r.tenant, t, r.started, r.run FROM $S.runs r, jsonb_array_elements_text(r.doc->'tags') AS t ON CONFLICT DO NOTHING;
CREATE INDEX runs_workflow_status ON $S.runs(tenant, workflow, status, started DESC, run DESC);
CREATE INDEX runs_due_tenant ON $S.runs(tenant, priority DESC, due, run) WHERE due IS NOT NULL;
ALTER TABLE $S.approvals SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
-- Tables that only grow: planned with by key alone, but kept frozen and their maps fresh in small portions.
ALTER TABLE $S.records SET (autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
ALTER TABLE $S.dependents SET (autovacuum_vacuum_insert_scale_factor = 0.02);
`
