import { createRequire, findPackageJSON } from 'node:module'
import type * as Prices from '@pydantic/genai-prices'
import type { Tokens } from '../ports/model.ts'

// This file owns the one loaded price table of the process. The table is the snapshot inside the package: nothing here
// ever fetches a newer one. It is loaded at the first question (about 45 ms), so that starting up does not pay for it.

const packageName = '@pydantic/genai-prices'

export interface Cost {
  /** US dollars as a decimal. */
  readonly amount: string
  readonly currency: 'USD'
  /** Which price list said so: `<package>@<version>`. */
  readonly table: string
}

export interface Used {
  /** `openai`, `anthropic`, …; the model id alone never decides whose prices apply. */
  readonly provider: string
  readonly model: string
  readonly tokens: Tokens
  /** When the call was made, in milliseconds: prices change, and some go by the time of day. */
  readonly at: number
}

interface Table {
  readonly calcPrice: typeof Prices.calcPrice
  readonly name: string
}

let loaded: Table | undefined

function table(): Table {
  if (loaded === undefined) {
    const require = createRequire(import.meta.url)
    const { calcPrice } = require(packageName) as typeof Prices
    const manifest = require(findPackageJSON(packageName, import.meta.url) ?? '') as { readonly version: string }
    loaded = { calcPrice, name: `${packageName}@${manifest.version}` }
  }
  return loaded
}

/**
 * What a model call cost, or undefined where the table does not know the model or the provider reported no tokens.
 * Cache writes are priced as the short-lived kind (Anthropic: 5 minutes), since tokens do not tell them apart.
 */
export function costOf(used: Used): Cost | undefined {
  const { input, output, cacheRead, cacheWrite } = used.tokens
  if (input === undefined && output === undefined) return undefined
  // The table would take the word `openai` for OpenAI itself, and a server of one's own for its prices.
  if (used.provider === 'openai-compatible') return undefined
  const { calcPrice, name } = table()
  const usage = {
    // The table's input is the whole prompt, the cached classes being parts of it: as in our Tokens.
    input_tokens: Math.max(input ?? 0, (cacheRead ?? 0) + (cacheWrite ?? 0)),
    output_tokens: output ?? 0,
    ...(cacheRead === undefined ? {} : { cache_read_tokens: cacheRead }),
    ...(cacheWrite === undefined ? {} : { cache_write_tokens: cacheWrite }),
  }
  const found = calcPrice(usage, used.model, { providerId: used.provider, timestamp: new Date(used.at) })
  if (found === null) return undefined
  return { amount: decimal(found.total_price), currency: 'USD', table: name }
}

/**
 * A float as the decimal it stands for. Prices have at most six digits per million tokens, so an amount is a multiple
 * of 10^-12; a double carries 15 digits, which leaves all twelve places exact below 1,000 dollars.
 */
export function decimal(amount: number): string {
  const whole = Math.trunc(Math.abs(amount)).toString().length
  const text = amount.toFixed(Math.max(0, Math.min(12, 15 - whole)))
  return text.includes('.') ? text.replace(/\.?0+$/, '') : text
}

/** Adds amounts exactly; `add()` is `0`. Both as decimals without an exponent. */
export function addAmounts(...amounts: readonly string[]): string {
  const places = 18
  let sum = 0n
  for (const amount of amounts) {
    const [whole = '0', part = ''] = amount.split('.')
    const digits = BigInt(`${whole.replace('-', '')}${part.slice(0, places).padEnd(places, '0')}`)
    sum += amount.startsWith('-') ? -digits : digits
  }
  const digits = (sum < 0n ? -sum : sum).toString().padStart(places + 1, '0')
  const text = `${digits.slice(0, -places)}.${digits.slice(-places)}`.replace(/\.?0+$/, '')
  return sum < 0n ? `-${text}` : text
}
