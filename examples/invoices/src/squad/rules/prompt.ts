import type { ModelRequest } from 'convoke'

// What the scripted model can see of a request: the same text that any model would get.

export function systemOf(request: ModelRequest): string {
  return textOf(request, 'system')
}

export function fills(request: ModelRequest, role: string): boolean {
  return systemOf(request).startsWith(`You fill the role ${role}.`)
}

/** The input segment of the briefing, parsed. */
export function inputOf<T>(request: ModelRequest): T | undefined {
  const match = /<segment id="s1"[^>]*>\n([\s\S]*?)\n<\/segment>/.exec(textOf(request, 'user'))
  if (match === null) return undefined
  try {
    return JSON.parse(match[1] as string) as T
  } catch {
    return undefined
  }
}

/** Whether an answer was sent back: the last message lists what was wrong with it. */
export function wasReturned(request: ModelRequest): boolean {
  const last = request.messages[request.messages.length - 1]
  return last?.role === 'user' && request.messages.some((m) => m.role === 'assistant')
}

export function hasToolResult(request: ModelRequest): boolean {
  return request.messages.some((message) => message.role === 'tool')
}

function textOf(request: ModelRequest, role: 'system' | 'user'): string {
  return request.messages
    .filter((message) => message.role === role)
    .flatMap((message) => message.parts.flatMap((part) => (part.type === 'text' ? [part.text] : [])))
    .join('\n')
}

/** An answer in the envelope that every role asks for. */
export function says(
  value: unknown,
  claims: readonly { statement: string; evidence: readonly { ref: string; quote: string }[] }[] = [],
): string {
  return JSON.stringify({ value, claims, confidence: 0.9, reasoning: 'by rule' })
}

export function quote(member: string, value: string): { ref: string; quote: string } {
  return { ref: 's1', quote: `${JSON.stringify(member)}:${JSON.stringify(value)}` }
}
