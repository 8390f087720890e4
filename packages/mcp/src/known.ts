import type { EffectClass } from 'convoke'
import type { ConvokeError } from 'convoke/adapter'
import { hashOf } from './definition.ts'
import type { Pins } from './pins.ts'
import { refOf, type Quarantined, type Served } from './review.ts'
import { declared, type McpServer } from './server.ts'

/** A tool that a server serves or that was accepted once, as people are shown it. */
export interface KnownTool {
  /** `<server>.<tool>`, the tool as its server calls it. */
  readonly tool: string
  readonly name: string
  /**
   * - `accepted`: a tool of the app
   * - `quarantined`: not before a person accepts it
   * - `refused`: accepted, and no tool can be made of it; `why` says why
   * - `gone`: accepted once, and the server has it no more
   */
  readonly state: 'accepted' | 'quarantined' | 'refused' | 'gone'
  /** Of what is served; of what was accepted where nothing is. */
  readonly hash: string
  /** As the app declares it. */
  readonly effect: EffectClass
  /** Who accepted it last, and when (ISO 8601). */
  readonly accepted?: { readonly by: string; readonly at: string; readonly hash: string }
  readonly why?: string
}

export interface KnownServer {
  readonly name: string
  /** Why it could not be asked; its tools are then those that were accepted. */
  readonly error?: ConvokeError
  readonly tools: readonly KnownTool[]
}

/** What there is of each server, in the order in which servers are configured and tools are served. */
export function knownOf(
  servers: readonly McpServer[],
  served: readonly Served[],
  pins: Pins,
  outcome: {
    readonly quarantined: readonly Quarantined[]
    readonly refused: readonly { readonly tool: string; readonly why: string }[]
    readonly unreachable: readonly { readonly server: string; readonly error: ConvokeError }[]
  },
): readonly KnownServer[] {
  const { quarantined, refused, unreachable } = outcome
  const acceptance = (ref: string): Pick<KnownTool, 'accepted'> => {
    const pin = pins.get(ref)
    return pin === undefined ? {} : { accepted: { by: pin.by, at: pin.at, hash: pin.hash } }
  }
  return servers.map((server) => {
    const there = served.filter((one) => one.server === server.name)
    const tools = there.map((one): KnownTool => {
      const ref = refOf(one)
      const hash = hashOf(one.definition)
      const why = refused.find(({ tool }) => tool === ref)?.why
      return {
        tool: ref,
        name: one.definition.name,
        state: quarantined.some((q) => q.tool === ref && q.hash === hash)
          ? 'quarantined'
          : why === undefined
            ? 'accepted'
            : 'refused',
        hash,
        effect: declared(server, one.definition.name).effect ?? 'unsafe',
        ...acceptance(ref),
        ...(why === undefined ? {} : { why }),
      }
    })
    const gone = [...pins]
      .filter(([ref]) => ref.startsWith(`${server.name}.`) && !there.some((one) => refOf(one) === ref))
      .map(([ref, pin]): KnownTool => ({
        tool: ref,
        name: pin.definition.name,
        state: 'gone',
        hash: pin.hash,
        effect: declared(server, pin.definition.name).effect ?? 'unsafe',
        ...acceptance(ref),
      }))
    const error = unreachable.find((u) => u.server === server.name)?.error
    return { name: server.name, ...(error === undefined ? {} : { error }), tools: [...tools, ...gone] }
  })
}
