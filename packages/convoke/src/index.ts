export { canonicalize, decode } from './core/canonical.ts'
export { codes, type Code, type Handling } from './core/codes.ts'
export { ConvokeError, isConvokeError, type ErrorData } from './core/errors.ts'
export type { Json, JsonObject } from './core/json.ts'
