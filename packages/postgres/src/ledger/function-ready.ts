// Runs that are due and free, one walk for each priority, highest first, until there are enough. A function, because the
// walk has to be along the index whatever the statistics say of the moment: a planner that expects few due runs reads and
// sorts all of them, at every look, while a backlog grows. And its plan is made once a connection.

const walk = (of: string): string => `
    SELECT r.priority INTO level FROM $S.runs r WHERE r.due IS NOT NULL ${of} ORDER BY r.priority DESC LIMIT 1;
    WHILE level IS NOT NULL AND more > 0 LOOP
      RETURN QUERY SELECT r.tenant, r.run, r.due, r.priority FROM $S.runs r
        WHERE r.due IS NOT NULL ${of} AND r.priority = level AND r.due <= now_
          AND coalesce((SELECT w.gone OR w.expires <= clock_timestamp() FROM $S.streams s
            JOIN $S.workers w ON w.id = s.owner WHERE s.id = r.stream), true)
        ORDER BY r.due, r.tenant, r.run LIMIT more;
      GET DIAGNOSTICS n = ROW_COUNT;
      more := more - n;
      SELECT r.priority INTO level FROM $S.runs r WHERE r.due IS NOT NULL ${of} AND r.priority < level
        ORDER BY r.priority DESC LIMIT 1;
    END LOOP;`

export const ready: string = `
CREATE FUNCTION $S.ready_1(now_ double precision, limit_ int, tenant_ text)
RETURNS TABLE(tenant text, run text, due double precision, priority double precision) STABLE LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET enable_hashjoin = off
SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan SET search_path = pg_catalog AS $$
#variable_conflict use_column
DECLARE
  level double precision;
  more int := limit_;
  n int;
BEGIN
  IF tenant_ IS NULL THEN${walk('')}
  ELSE${walk('AND r.tenant = tenant_')}
  END IF;
END $$;`
