import { settings } from './function-settings.ts'

/** As `look_after_1` (function-owning.ts), and says whether somebody is suspected: then the next look is worth having soon. */
export const watching: string = `
CREATE FUNCTION $S.look_after_2(grace int) RETURNS text ${settings} AS $$
DECLARE
  answer jsonb := $S.look_after_1(grace)::jsonb;
BEGIN
  RETURN answer || jsonb_build_object('suspected',
    EXISTS (SELECT FROM $S.workers WHERE suspected IS NOT NULL AND NOT gone));
END $$;`
