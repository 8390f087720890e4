/**
 * Where secrets come from: the environment, a file, a vault. Asked inside the gateway only, when a tool's call needs the
 * value, each time anew: whoever is slow keeps what it got for as long as it may.
 */
export interface Secrets {
  get(name: string): string | undefined | Promise<string | undefined>
  /** How a person gives the secret a value. Never the value. */
  hint?(name: string): string
}
