import { readFile } from 'node:fs/promises'
import { parseStrict, policy, type Policy } from 'convoke'

const file = new URL('../../policy.json', import.meta.url)

/** The policy is data: `policy.json`, with its cases beside it. */
export async function readPolicy(): Promise<Policy> {
  return policy(parseStrict(await readFile(file, 'utf8')) as unknown as Policy)
}
