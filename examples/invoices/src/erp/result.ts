/** What an operation answers, before it becomes a response. */
export interface Result {
  status: number
  body: unknown
  /** The body is an RFC 9457 problem. */
  problem?: boolean
  /** What was changed, such as `payment:PAY-0002`; absent where nothing was. */
  effect?: string
  headers?: Record<string, string>
}
