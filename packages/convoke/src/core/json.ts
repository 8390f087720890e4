/** Any value that JSON can carry. Objects are plain; `__proto__` and friends are just keys. */
export type Json = null | boolean | number | string | readonly Json[] | JsonObject
export interface JsonObject {
  readonly [key: string]: Json
}
