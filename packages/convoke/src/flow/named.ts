import type { Json } from '../core/json.ts'

/** Shorter words, and numbers of fewer digits, stand in too many requests to say anything. */
const shortest = 2
const fewestDigits = 4

/**
 * Whether a text stands in what the trusted request says, as whole words, letter case aside. So it was chosen by whoever
 * made the request; that it is used here may still be somebody else's choice.
 */
export function isNamed(value: Json, request: readonly string[]): boolean {
  if (typeof value !== 'string' && typeof value !== 'number') return false
  const text = normal(String(value)).trim()
  if (text.length < shortest || (!/\p{L}/u.test(text) && text.replace(/\D/g, '').length < fewestDigits)) return false
  return request.some((one) => occurs(normal(one), text))
}

/** Code units on either side that can say whether a word goes on. */
const near = 4

function normal(text: string): string {
  return text.normalize('NFC').toLowerCase()
}

/** As whole words: what stands on either side is no letter, digit or anything that goes on with a name or an address. */
function occurs(text: string, part: string): boolean {
  for (let at = text.indexOf(part); at >= 0; at = text.indexOf(part, at + 1)) {
    const before = text.slice(Math.max(0, at - near), at)
    const after = text.slice(at + part.length, at + part.length + near)
    if (
      !/[\p{L}\p{N}_@%+#&=/\\-]$|[\p{L}\p{N}][.:]$/u.test(before) &&
      !/^[\p{L}\p{N}_@%+#&=/\\-]|^[.:][\p{L}\p{N}]/u.test(after)
    )
      return true
  }
  return false
}
