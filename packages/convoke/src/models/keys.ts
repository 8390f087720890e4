// Which providers are known by name, and what the environment says of them. Nothing here calls anybody.

/** Environment variables, as in `process.env`. */
export type Env = Readonly<Record<string, string | undefined>>

export const providers = {
  anthropic: { npm: '@ai-sdk/anthropic@4.0.105', key: 'ANTHROPIC_API_KEY', usual: 'claude-sonnet-5' },
  openai: { npm: '@ai-sdk/openai@4.0.118', key: 'OPENAI_API_KEY', usual: 'gpt-5.4-mini' },
} as const

export type Keyed = keyof typeof providers
export const keyed: readonly Keyed[] = Object.keys(providers) as readonly Keyed[]

/** One line for a person when a key lies in the environment and no model was chosen; nothing is ever called for it. */
export function keyHint(env: Env): string | undefined {
  if (present(env['CONVOKE_MODEL']) !== undefined) return undefined
  const name = keyed.find((candidate) => present(env[providers[candidate].key]) !== undefined)
  return name === undefined
    ? undefined
    : `${providers[name].key} is set but not used; --model auto would use ${name}/${providers[name].usual} and cost money`
}

export function autoSpec(env: Env): string | undefined {
  const name = keyed.find((candidate) => present(env[providers[candidate].key]) !== undefined)
  return name === undefined ? undefined : `${name}/${providers[name].usual}`
}

export function present(value: string | undefined): string | undefined {
  return value === undefined || value.trim() === '' ? undefined : value
}
