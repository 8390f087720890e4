import type { CallToolResult, ContentBlock, ReadResourceResult } from '@modelcontextprotocol/client'
import type { Json } from 'convoke'
import { canonicalize } from 'convoke/adapter'

/** What an MCP tool said. Foreign: untrusted unless the app labels the server otherwise. */
export interface McpAnswer {
  /** All text parts, an empty line between them. */
  readonly text?: string
  /** What the tool gave by its output schema. Text that only repeats it is left out. */
  readonly structured?: Json
  readonly parts?: readonly McpPart[]
}

export type McpPart =
  | { readonly type: 'image' | 'audio'; readonly mediaType: string; /** Base64. */ readonly data: string }
  | {
      readonly type: 'link'
      readonly uri: string
      readonly name: string
      readonly mediaType?: string
      readonly description?: string
    }
  | {
      readonly type: 'resource'
      readonly uri: string
      readonly mediaType?: string
      readonly text?: string
      readonly data?: string
    }

export function answerOf(result: Pick<CallToolResult, 'content' | 'structuredContent'>): McpAnswer {
  const { structuredContent } = result
  const texts: string[] = []
  const parts: McpPart[] = []
  for (const block of result.content ?? []) {
    if (block.type === 'text') texts.push(block.text)
    else parts.push(partOf(block))
  }
  const repeated = structuredContent !== undefined && texts.length === 1 && repeats(texts[0] ?? '', structuredContent)
  const text = repeated ? '' : texts.join('\n\n')
  return {
    ...(text === '' ? {} : { text: text.toWellFormed() }),
    ...(structuredContent === undefined ? {} : { structured: structuredContent as Json }),
    ...(parts.length === 0 ? {} : { parts }),
  }
}

function partOf(block: Exclude<ContentBlock, { type: 'text' }>): McpPart {
  switch (block.type) {
    case 'image':
    case 'audio':
      return { type: block.type, mediaType: block.mimeType, data: block.data }
    case 'resource_link':
      return {
        type: 'link',
        uri: block.uri,
        name: block.name,
        ...(block.mimeType === undefined ? {} : { mediaType: block.mimeType }),
        ...(block.description === undefined ? {} : { description: block.description }),
      }
    case 'resource':
      return contentsOf(block.resource)
  }
}

export function contentsOf(contents: ReadResourceResult['contents'][number]): McpPart {
  return {
    type: 'resource',
    uri: contents.uri,
    ...(contents.mimeType === undefined ? {} : { mediaType: contents.mimeType }),
    ...('text' in contents ? { text: String(contents.text).toWellFormed() } : {}),
    ...('blob' in contents ? { data: String(contents.blob) } : {}),
  }
}

function repeats(text: string, structured: unknown): boolean {
  try {
    return canonicalize(JSON.parse(text)) === canonicalize(structured)
  } catch {
    return false
  }
}
