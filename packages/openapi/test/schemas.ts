import type { JsonObject } from 'convoke'
import type { OperationTool } from '../src/index.ts'

/** The JSON Schema of one side of a tool. */
export function jsonSchemaOf(tool: OperationTool, side: 'input' | 'output'): JsonObject {
  const schema = side === 'input' ? tool.inputSchema : tool.outputSchema
  const standard = schema?.['~standard'] as unknown as {
    readonly jsonSchema: Record<'input' | 'output', (o: { target: string }) => JsonObject>
  }
  return standard.jsonSchema[side]({ target: 'draft-2020-12' })
}
