import { settings } from './function-settings.ts'

export const rebuild: string = `
-- Writes the rows of these runs anew, from what their records say in commit order. The caller has locked their streams.
CREATE FUNCTION $S.rebuild_1(tenant_ text, list text[], changes jsonb) RETURNS void ${settings} AS $$
DECLARE
  c jsonb;
BEGIN
  DELETE FROM $S.approvals WHERE tenant = tenant_ AND run = ANY (list);
  DELETE FROM $S.runs WHERE tenant = tenant_ AND run = ANY (list) AND NOT doc ? 'archived';
  FOR c IN SELECT value FROM jsonb_array_elements(changes) WITH ORDINALITY ORDER BY ordinality LOOP
    PERFORM $S.apply_1(tenant_, (c->>'stream')::bigint, (c->>'inbox')::boolean, c);
  END LOOP;
END $$;`
