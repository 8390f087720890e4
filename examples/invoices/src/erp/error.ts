/** Why the ERP cannot start, with a stable code: `DATA_IN_USE`, `DATA_VERSION`, `PORT_IN_USE`, `LISTEN_FAILED`, `USAGE`. */
export class ErpError extends Error {
  readonly code: string
  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'ErpError'
    this.code = code
  }
}
