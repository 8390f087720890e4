// Every join is a look-up by key in a table that may be large or freshly grown, whatever the statistics say of it:
// the planner is told so, since a plan is made once per session.

export const settings: string = `LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan
SET search_path = pg_catalog`
