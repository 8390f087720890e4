import { createInterface } from 'node:readline/promises'
import { ConvokeError } from 'convoke'
import type { Output } from './output.ts'

/**
 * Asks a person at the terminal. Without one, only --yes says yes. Whatever is not a yes is a no, the end of input too.
 * @throws USAGE, INTERRUPTED for Ctrl-C
 */
export async function confirm(out: Output, question: string, yes: boolean): Promise<boolean> {
  if (yes) return true
  if (!out.interactive)
    throw new ConvokeError('USAGE', 'nobody is here to confirm this', { next: 'add --yes when you are sure' })
  const ask = createInterface({ input: process.stdin, output: process.stderr })
  const over = new AbortController()
  let interrupted = false
  ask.on('SIGINT', () => {
    interrupted = true
    ask.close()
  })
  ask.on('close', () => over.abort())
  try {
    return /^y(es)?$/i.test((await ask.question(`${question} [y/N] `, { signal: over.signal })).trim())
  } catch (error) {
    if (!over.signal.aborted) throw error
    // What follows begins on a line of its own.
    process.stderr.write('\n')
    if (interrupted)
      throw new ConvokeError('INTERRUPTED', 'interrupted before it was confirmed; nothing was done', {
        next: 'ask again when you are sure',
      })
    return false
  } finally {
    ask.close()
  }
}
