import { rm } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { startMain } from './child.ts'
import { readBooks } from './counterpart.ts'

// Kills the squad three times with -9 in the middle of its work, each time later, starts it again, and then asks the
// ERP what happened to its books. What it leaves behind can be asked for the reasons; the next demonstration forgets it.

const here = process.env['INIT_CWD'] ?? process.cwd()
const folder = join(here, '.convoke', 'demo')
const store = join(folder, 'store')
const args = ['--store', relative(here, store), '--erp-data', relative(here, join(folder, 'erp'))]
const say = (text: string): void => void process.stdout.write(`${text}\n`)

let interrupted = false
process.once('SIGINT', () => (interrupted = true))

await rm(folder, { recursive: true, force: true })
say(`A fresh store in ${relative(here, folder)}. Each round kills the process with -9 after some lines.\n`)
for (const [round, lines] of [6, 9, 12].entries()) {
  let seen = 0
  const child = startMain(args, {
    onLine: (line) => {
      if (!/^\d\d:\d\d /.test(line)) return
      say(`  ${line}`)
      if (++seen === lines) child.kill('SIGKILL')
    },
  })
  const { signal, code, stderr } = await child.ended
  if (interrupted) break
  if (signal !== 'SIGKILL' && code !== 0) throw new Error(`round ${round + 1} ended with ${String(code)}: ${stderr}`)
  say(
    signal === 'SIGKILL'
      ? `\n  kill -9, round ${round + 1}\n`
      : `\n  round ${round + 1} had finished before its kill\n`,
  )
}
if (!interrupted) {
  say('And to the end:\n')
  const last = startMain(args, { onLine: (line) => say(`  ${line}`) })
  const { code, stderr } = await last.ended
  if (code !== 0) throw new Error(`the last start ended with ${String(code)}: ${stderr}`)
  const books = await readBooks(join(folder, 'erp'))
  const distinct = new Set(books.payments).size
  say(
    `\nThe ERP's own count: ${books.calls} calls, ${books.effects.length} changes of its books, ${books.repeated} repeats that it recognised by their key.`,
  )
  say(
    `Payments and credits: ${books.payments.length}, of which distinct: ${distinct}. Effects made twice: ${books.repeatedEffects}.`,
  )
  if (books.repeatedEffects !== 0 || distinct !== books.payments.length) process.exitCode = 1
}
