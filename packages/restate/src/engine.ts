import { connect, constants, type ClientHttp2Session } from 'node:http2'
import { ConvokeError } from 'convoke/adapter'

// What is said to the engine: one HTTP/2 connection to where messages go in, another to its administration. Owns both
// connections; each is opened at first use and again after it broke.

export interface Answer {
  readonly status: number
  readonly body: string
}

export interface Message {
  readonly service: string
  readonly key: string
  /** Another message with the same id is none, for as long as the engine remembers. */
  readonly id: string
  /** Milliseconds from now at which it is delivered; 0 unless said. */
  readonly delay?: number
  readonly body: object
}

export interface Engine {
  /**
   * One message to a run's mailbox. Resolves once the engine has it for good; false when the engine knows no such service.
   * @throws ENGINE_UNREACHABLE
   */
  send(message: Message): Promise<boolean>
  /** @throws ENGINE_UNREACHABLE when the administration does not answer, or refuses */
  register(uri: string): Promise<void>
  /** @throws ENGINE_UNREACHABLE */
  check(): Promise<{ readonly version: string }>
  close(): void
}

const requestMs = 5_000

/** `ingress` and `admin` are base addresses: `http://127.0.0.1:8080`, `http://127.0.0.1:9070`. */
export function createEngine({ ingress, admin }: { readonly ingress: string; readonly admin: string }): Engine {
  const messages = createClient(ingress)
  const administration = createClient(admin)
  return {
    async send({ service, key, id, delay = 0, body }) {
      const path = `/${service}/${encodeURIComponent(key)}/drive/send${delay > 0 ? `?delay=${Math.ceil(delay)}ms` : ''}`
      const answer = await messages.request('POST', path, JSON.stringify(body), { 'idempotency-key': id })
      if (answer.status === 404) return false
      if (answer.status >= 300) throw refused(ingress, 'a message', answer)
      return true
    },
    async register(uri) {
      // Several workers register the same at once; the engine answers 409 or 5xx to some while one is being looked at.
      for (let tries = 0; ; tries++) {
        const answer = await administration.request(
          'POST',
          '/deployments',
          JSON.stringify({ uri, force: false }),
          {},
          15_000,
        )
        if (answer.status < 300) return
        if (tries === 4) throw refused(admin, `the registration of ${uri}`, answer)
        await new Promise((resolve) => setTimeout(resolve, 100 * 2 ** tries))
      }
    },
    async check() {
      const [version, health] = await Promise.all([
        administration.request('GET', '/version'),
        messages.request('GET', '/restate/health'),
      ])
      if (version.status !== 200) throw refused(admin, 'the question for its version', version)
      if (health.status !== 200) throw refused(ingress, 'the question for its health', health)
      return { version: versionIn(version.body, admin) }
    },
    close() {
      messages.close()
      administration.close()
    },
  }
}

function versionIn(body: string, admin: string): string {
  try {
    const { version } = JSON.parse(body) as { version?: unknown }
    if (typeof version === 'string') return version
  } catch {
    // Said below.
  }
  throw new ConvokeError('ENGINE_UNREACHABLE', `what answers at ${admin} is not Restate's administration`, {
    details: { engine: admin },
    next: 'give its address as restate://host:port?admin=host:port',
  })
}

function refused(engine: string, what: string, { status, body }: Answer): ConvokeError {
  return new ConvokeError(
    'ENGINE_UNREACHABLE',
    `Restate at ${engine} refuses ${what}: ${status} ${body.slice(0, 500)}`,
    {
      details: { engine, status },
      next: 'see what the engine says, and whether it can reach the address that the worker advertises',
    },
  )
}

interface Client {
  request(
    method: string,
    path: string,
    body?: string,
    headers?: Record<string, string>,
    timeoutMs?: number,
  ): Promise<Answer>
  close(): void
}

function createClient(base: string): Client {
  let session: ClientHttp2Session | undefined

  function open(): ClientHttp2Session {
    if (session !== undefined && !session.closed && !session.destroyed) return session
    const made = connect(base)
    // An idle connection keeps no process alive; a request does, by its timer.
    made.unref()
    // One for each request that is under way.
    made.setMaxListeners(0)
    made.on('error', () => undefined)
    made.once('goaway', () => {
      if (session === made) session = undefined
    })
    return (session = made)
  }

  return {
    request(method, path, body, headers = {}, timeoutMs = requestMs) {
      const its = open()
      return new Promise<Answer>((resolve, reject) => {
        const fail = (cause?: unknown): void => {
          clearTimeout(timer)
          // What did not answer once is not asked again through the same connection.
          if (session === its) session = undefined
          its.destroy()
          reject(unreachable(base, cause))
        }
        const timer = setTimeout(() => fail(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs)
        its.once('error', fail)
        const stream = its.request({
          ':method': method,
          ':path': path,
          ...headers,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        })
        let status = 0
        let text = ''
        stream.setEncoding('utf8')
        stream.on('response', (fields) => (status = Number(fields[constants.HTTP2_HEADER_STATUS])))
        stream.on('data', (chunk: string) => (text += chunk))
        stream.on('error', fail)
        stream.on('close', () => {
          clearTimeout(timer)
          its.off('error', fail)
          if (status === 0) reject(unreachable(base, new Error('the connection was closed')))
          else resolve({ status, body: text })
        })
        stream.end(body)
      })
    },
    close() {
      session?.close()
      session = undefined
    },
  }
}

function unreachable(engine: string, cause: unknown): ConvokeError {
  const why = cause instanceof Error ? cause.message : 'it closed the connection'
  return new ConvokeError('ENGINE_UNREACHABLE', `Restate at ${engine} does not answer: ${why}`, {
    details: { engine },
    next: 'check the address, and that the server runs; the runs are safe in the ledger meanwhile',
    cause,
  })
}
