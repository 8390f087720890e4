import { canonicalize } from '../core/canonical.ts'
import type { Json, JsonObject } from '../core/json.ts'

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

/** A value as people like to see it: text without quotes, objects as `name: value, …`, hashes and long ones cut. */
export function brief(value: Json | undefined, max = 100): string {
  return line(say(value, max, 2), max)
}

const hash = /^[0-9a-f]{32,}$/

function say(value: Json | undefined, max: number, depth: number): string {
  if (value === undefined) return 'nothing'
  if (typeof value === 'string') return hash.test(value) ? `${value.slice(0, 8)}…` : line(value, max)
  if (typeof value !== 'object' || value === null) return String(value)
  if (Array.isArray(value)) return sayList(value as readonly Json[], max, depth)
  // What a person can read at a glance first, then what is nested.
  const members = Object.entries(value as JsonObject)
  const isNested = (item: Json): boolean => typeof item === 'object' && item !== null
  const ordered = [...members.filter(([, item]) => !isNested(item)), ...members.filter(([, item]) => isNested(item))]
  const parts: string[] = []
  let length = 0
  for (const [key, item] of ordered) {
    if (length > max) break
    const said =
      isNested(item) && !Array.isArray(item)
        ? `{${depth > 0 ? say(item, 60, depth - 1) : '…'}}`
        : say(item, 48, depth - 1)
    parts.push(`${key}: ${said}`)
    length += key.length + said.length + 4
  }
  return parts.join(', ') || 'nothing'
}

function sayList(items: readonly Json[], max: number, depth: number): string {
  if (items.length === 0) return 'none'
  const simple = items.every((item) => typeof item !== 'object' || item === null)
  if (simple)
    return line(
      items
        .slice(0, 12)
        .map((item) => say(item, 40, 0))
        .join(', '),
      max,
    )
  if (depth <= 0) return `${items.length} ${items.length === 1 ? 'item' : 'items'}`
  return `${items.length === 1 ? '' : `${items.length} × `}{${say(items[0], 60, depth - 1)}}`
}

/** Compact JSON, for what must be seen exactly. */
export function exact(value: Json | undefined, max = 200): string {
  return value === undefined ? '(nothing)' : line(canonicalize(value), max)
}
