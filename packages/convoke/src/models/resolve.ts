import { ConvokeError } from '../core/errors.ts'
import type { Model } from '../ports/model.ts'
import { boundedFetch } from './bounded-fetch.ts'
import { defaultAnswerBytes, fromAiSdk, type FromAiSdkOptions } from './from-ai-sdk.ts'
import { autoSpec, keyed, present, providers, type Env, type Keyed } from './keys.ts'

const forms = "'auto', 'anthropic/<model>', 'openai/<model>' or 'openai-compatible/<model>@<baseURL>'"

/**
 * Makes the model that a person named. Provider packages are optional and loaded only here.
 *
 * Keys: ANTHROPIC_API_KEY, OPENAI_API_KEY; for an OpenAI-compatible server CONVOKE_MODEL_API_KEY, if it wants one (the
 * OpenAI key is never sent to another host).
 * @throws MODEL_UNKNOWN for a name of another form, a missing key or a provider package that is not installed
 */
export async function resolveModel(spec: string, env: Env, options: FromAiSdkOptions = {}): Promise<Model> {
  if (spec === 'auto') {
    const found = autoSpec(env)
    if (found !== undefined) return resolveModel(found, env, options)
    throw new ConvokeError('MODEL_UNKNOWN', 'no model can be chosen: there is no key in the environment', {
      next: `set ${keyed.map((name) => providers[name].key).join(' or ')}, or name a model: ${forms}`,
    })
  }
  const cut = spec.indexOf('/')
  const provider = spec.slice(0, Math.max(cut, 0))
  const name = spec.slice(cut + 1)
  if (name !== '' && provider === 'openai-compatible') return compatible(name, env, options)
  if (name !== '' && (keyed as readonly string[]).includes(provider))
    return hosted(provider as Keyed, name, env, options)
  throw new ConvokeError('MODEL_UNKNOWN', `${JSON.stringify(spec)} names no model`, { next: `use ${forms}` })
}

async function hosted(provider: Keyed, name: string, env: Env, options: FromAiSdkOptions): Promise<Model> {
  const { npm, key } = providers[provider]
  const apiKey = present(env[key])
  if (apiKey === undefined)
    throw new ConvokeError('MODEL_UNKNOWN', `${provider}/${name} needs a key, and ${key} is not set`, {
      next: `set ${key}`,
    })
  const base = present(env[provider === 'openai' ? 'OPENAI_BASE_URL' : 'ANTHROPIC_BASE_URL'])
  const settings = { apiKey, fetch: bounded(options), ...(base === undefined ? {} : { baseURL: base }) }
  const own = { id: `${provider}/${name}`, secrets: [...(options.secrets ?? []), apiKey] }
  if (provider === 'anthropic') {
    const { createAnthropic } = await load(() => import('@ai-sdk/anthropic'), npm)
    return fromAiSdk(createAnthropic(settings)(name), { ...options, ...own })
  }
  const { createOpenAI } = await load(() => import('@ai-sdk/openai'), npm)
  // A run may sleep longer than the provider keeps items, and forks share their history: the conversation carries its
  // own (encrypted) reasoning instead of references to what the provider stored.
  const providerOptions = { openai: { store: false, ...(options.providerOptions?.['openai'] as object | undefined) } }
  return fromAiSdk(createOpenAI(settings)(name), {
    ...options,
    ...own,
    providerOptions: { ...options.providerOptions, ...providerOptions },
  })
}

async function compatible(rest: string, env: Env, options: FromAiSdkOptions): Promise<Model> {
  const cut = rest.lastIndexOf('@http')
  const baseURL = rest.slice(cut + 1)
  if (cut < 1 || !URL.canParse(baseURL))
    throw new ConvokeError('MODEL_UNKNOWN', 'an OpenAI-compatible model needs the address of its server', {
      next: "write it as 'openai-compatible/<model>@http://127.0.0.1:11434/v1'",
    })
  const name = rest.slice(0, cut)
  const apiKey = present(env['CONVOKE_MODEL_API_KEY'])
  const { createOpenAICompatible } = await load(
    () => import('@ai-sdk/openai-compatible'),
    '@ai-sdk/openai-compatible@3.0.92',
  )
  const create = createOpenAICompatible({
    name: 'openai-compatible',
    baseURL,
    fetch: bounded(options),
    includeUsage: true,
    // Without it the package drops the schema of structured output.
    supportsStructuredOutputs: true,
    ...(apiKey === undefined ? {} : { apiKey }),
  })
  return fromAiSdk(create(name), {
    ...options,
    id: `openai-compatible/${name}`,
    secrets: [...(options.secrets ?? []), ...(apiKey === undefined ? [] : [apiKey])],
  })
}

function bounded(options: FromAiSdkOptions): typeof fetch {
  return boundedFetch(options.maxAnswerBytes ?? defaultAnswerBytes)
}

async function load<T>(importing: () => Promise<T>, npm: string): Promise<T> {
  try {
    return await importing()
  } catch (cause) {
    if ((cause as { code?: unknown }).code !== 'ERR_MODULE_NOT_FOUND') throw cause
    const name = npm.slice(0, npm.lastIndexOf('@'))
    throw new ConvokeError('MODEL_UNKNOWN', `the package ${name} is not installed`, {
      details: { package: name },
      next: `npm install ${npm}`,
      cause,
    })
  }
}
