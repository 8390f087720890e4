import { sha256 } from '../core/hash.ts'
import type { ModelRequest } from '../ports/model.ts'

/** What OpenAI and Anthropic both accept as the name of a function. */
const accepted = /^[A-Za-z0-9_-]{1,64}$/

/** Tool names as they go over the wire, and back. Ours hold dots (`erp.getOrder`) that providers refuse. */
export interface WireNames {
  toWire(tool: string): string
  toTool(wire: string): string
}

/** Names of one request: its tools first, then those that only its history mentions. */
export function wireNames(request: ModelRequest): WireNames {
  const toWire = new Map<string, string>()
  const toTool = new Map<string, string>()
  const add = (tool: string): string => {
    const known = toWire.get(tool)
    if (known !== undefined) return known
    let wire = tool
    if (!accepted.test(tool)) {
      wire = tool.replaceAll(/[^A-Za-z0-9_-]/g, '_').slice(0, 64)
      if (wire === '' || toTool.has(wire)) wire = `${wire.slice(0, 55)}_${sha256(tool).slice(0, 8)}`
    }
    toWire.set(tool, wire)
    toTool.set(wire, tool)
    return wire
  }
  const tools = request.tools ?? []
  // Names that need no change go first, so that none of them is taken by a changed one.
  for (const tool of tools) if (accepted.test(tool.name)) add(tool.name)
  for (const tool of tools) add(tool.name)
  return { toWire: add, toTool: (wire) => toTool.get(wire) ?? wire }
}
