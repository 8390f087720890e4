import {
  DpopSession,
  type OAuthClientInformationMixed,
  type OAuthClientMetadata,
  type OAuthClientProvider,
  type OAuthDiscoveryState,
  type OAuthTokens,
} from '@modelcontextprotocol/client'

// A person with a browser who consents to everything: follows the authorization server's redirect and keeps what it
// sent back. All that a provider has to store is stored for one process.

const redirectUrl = 'http://localhost:3000/callback'

export interface Person {
  readonly provider: OAuthClientProvider
  /** What the authorization server sent back the last time. */
  readonly authorized: () => Promise<URLSearchParams>
}

export interface PersonOptions {
  /** What the authorization server knows us as, where we do not register. */
  readonly registered?: OAuthClientInformationMixed
  /** Tokens are bound to a key of ours (RFC 9449). */
  readonly dpop?: boolean
}

export function person({ registered, dpop = false }: PersonOptions = {}): Person {
  let client = registered
  const session = dpop ? DpopSession.create() : undefined
  let tokens: OAuthTokens | undefined
  let verifier = ''
  let discovery: OAuthDiscoveryState | undefined
  let answer = new URLSearchParams()
  const clientMetadata: OAuthClientMetadata = { client_name: 'convoke', redirect_uris: [redirectUrl] }
  return {
    authorized: () => Promise.resolve(answer),
    provider: {
      redirectUrl,
      clientMetadata,
      clientMetadataUrl: 'https://conformance-test.local/client-metadata.json',
      clientInformation: () => client,
      saveClientInformation: (given) => {
        client = given
      },
      tokens: () => tokens,
      saveTokens: (given) => {
        tokens = given
      },
      codeVerifier: () => verifier,
      saveCodeVerifier: (given) => {
        verifier = given
      },
      ...(session === undefined ? {} : { dpop: () => session }),
      discoveryState: () => discovery,
      saveDiscoveryState: (given) => {
        discovery = given
      },
      invalidateCredentials: (what) => {
        if (what === 'all' || what === 'client') client = undefined
        if (what === 'all' || what === 'tokens') tokens = undefined
        if (what === 'all' || what === 'discovery') discovery = undefined
      },
      async redirectToAuthorization(url) {
        const response = await fetch(url, { redirect: 'manual' })
        await response.body?.cancel()
        answer = new URL(response.headers.get('location') ?? 'http://none.invalid').searchParams
      },
    },
  }
}

/** A program with an identity of its workload (RFC 7523, SEP-1933): one grant, no browser, no second try. */
export function workload(clientId: string, assertion: string): OAuthClientProvider {
  let tokens: OAuthTokens | undefined
  return {
    redirectUrl: undefined,
    clientMetadata: { client_name: 'convoke', redirect_uris: [] },
    clientInformation: () => ({ client_id: clientId }),
    tokens: () => tokens,
    saveTokens: (given) => {
      tokens = given
    },
    codeVerifier: () => '',
    saveCodeVerifier: () => undefined,
    redirectToAuthorization: () => {
      throw new Error('there is no person')
    },
    prepareTokenRequest: () =>
      new URLSearchParams({ grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer', assertion }),
  }
}
