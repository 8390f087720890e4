/**
 * Where requests may go. `hosts` narrows: only these. `inside` widens: ranges beyond the public internet. What is given
 * for neither reaches any public address, and no other.
 */
export interface NetworkRules {
  /** `api.example.com`, `*.example.com` (its subdomains), `erp.corp:8443`; any host unless said. */
  readonly hosts?: readonly string[]
  /**
   * `loopback`, `private` (RFC 1918 and fc00::/7), or ranges such as `10.1.0.0/16`. Addresses of metadata services
   * stay out of reach, whatever is said here.
   */
  readonly inside?: readonly string[]
}

export interface NetworkRequest {
  readonly url: string
  readonly method: string
  readonly headers: Headers
  /** All of it: a body may have to be sent again where the server moves it. */
  readonly body: Uint8Array | undefined
  /** As fetch has it. `follow` unless said. */
  readonly redirect?: 'follow' | 'manual' | 'error'
  readonly rules: NetworkRules
  /** Of the body, after decoding. */
  readonly maxBytes: number
  readonly signal: AbortSignal
  /** Called right before each connection is used; what it throws ends the request. */
  readonly beforeSend?: () => void
}

export interface NetworkResponse {
  readonly status: number
  readonly statusText: string
  /** Without the encoding and the length of what travelled. */
  readonly headers: Headers
  /** Where it came from in the end. */
  readonly url: string
  /** Decoded. Throws TOOL_RESULT_TOO_LARGE as soon as it would pass `maxBytes`. May be read once. */
  readonly body: AsyncIterable<Uint8Array>
}

/** Carries HTTP requests to where they may go. */
export interface Network {
  /** @throws DEFINITION_INVALID for rules that cannot be read */
  admit(rules: NetworkRules): void
  /**
   * @throws NETWORK_DENIED before anything is sent to where it may not go; TOOL_UNREACHABLE with `details.sent`, which is
   *   false when certainly no byte of the request left; the signal's reason
   */
  request(request: NetworkRequest): Promise<NetworkResponse>
  /** Lets go of idle connections. */
  close(): void
}
