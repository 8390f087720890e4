import { canonicalize } from '../core/canonical.ts'
import type { Json } from '../core/json.ts'

// How values are written for people. Nothing here is meant to be parsed.

/** `850 ms`, `4.2 s`, `3 m 05 s`, `2 h 10 m`, `3 d 4 h`. */
export function duration(ms: number): string {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`
  if (ms < 60_000) return `${(Math.floor(ms / 100) / 10).toFixed(1)} s`
  const seconds = Math.floor(ms / 1000)
  if (seconds < 3600) return `${Math.floor(seconds / 60)} m ${pad(seconds % 60)} s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 2880) return `${Math.floor(minutes / 60)} h ${pad(minutes % 60)} m`
  return `${Math.floor(minutes / 1440)} d ${Math.floor((minutes % 1440) / 60)} h`
}

function pad(n: number): string {
  return String(n).padStart(2, '0')
}

/** `2026-11-21 03:05:10`, in UTC, so that two people talk about the same moment. */
export function moment(at: number): string {
  return new Date(at).toISOString().replace('T', ' ').slice(0, 19)
}

/** Thousands apart: `12,345`. */
export function count(n: number): string {
  return String(n).replace(/\B(?=(\d{3})+$)/g, ',')
}

/** A decimal of US dollars, not longer than it needs to be. */
export function dollars(amount: string): string {
  const value = Number(amount)
  if (value === 0) return '$0'
  return value < 0.01 ? `$${value.toPrecision(2)}` : `$${value.toFixed(value < 1 ? 4 : 2)}`
}

/** One line of at most `max` characters; control characters never reach a terminal. */
export function line(value: string, max = 100): string {
  const flat = value.replace(/[\s\u0000-\u001f\u007f-\u009f]+/g, ' ').trim()
  return flat.length <= max
    ? flat
    : flat
        .slice(0, Math.max(1, max - 1))
        .toWellFormed()
        .trimEnd() + '…'
}

/** A value as people like to see it: text without quotes, objects as `name: value, …`, long ones cut. */
export function brief(value: Json | undefined, max = 100): string {
  if (value === undefined) return 'nothing'
  if (typeof value === 'string') return line(value, max)
  if (typeof value !== 'object' || value === null) return String(value)
  if (Array.isArray(value)) {
    const items = value as readonly Json[]
    const simple = items.every((item) => typeof item !== 'object' || item === null)
    return simple && items.length <= 6
      ? line(items.map((item) => brief(item, 30)).join(', ') || 'none', max)
      : `${items.length} items`
  }
  const parts: string[] = []
  for (const [key, item] of Object.entries(value)) {
    if (parts.join(', ').length > max) break
    const nested = typeof item === 'object' && item !== null
    parts.push(nested && !Array.isArray(item) ? `${key}: {…}` : `${key}: ${brief(item as Json, 40)}`)
  }
  return line(parts.join(', ') || 'nothing', max)
}

/** Compact JSON, for what must be seen exactly. */
export function exact(value: Json | undefined, max = 200): string {
  return value === undefined ? '(nothing)' : line(canonicalize(value), max)
}
