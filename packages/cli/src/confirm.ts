import { createInterface } from 'node:readline/promises'
import { ConvokeError } from 'convoke'
import type { Output } from './output.ts'

/** Asks a person at the terminal. Without one, only --yes says yes. @throws USAGE */
export async function confirm(out: Output, question: string, yes: boolean): Promise<boolean> {
  if (yes) return true
  if (!out.interactive)
    throw new ConvokeError('USAGE', 'nobody is here to confirm this', { next: 'add --yes when you are sure' })
  const ask = createInterface({ input: process.stdin, output: process.stderr })
  try {
    return /^y(es)?$/i.test((await ask.question(`${question} [y/N] `)).trim())
  } finally {
    ask.close()
  }
}
