import { clock, openApp, shownPlace, type Context } from '../context.ts'
import { exit } from '../exit.ts'
import { interruptible } from '../interrupt.ts'
import { progressLine, tell } from '../progress.ts'

/** `convoke worker`: drives whatever becomes ready until it is told to stop. */
export async function workerCommand(context: Context): Promise<number> {
  const { out } = context
  const { app, place } = await openApp(context, (ref, error) => {
    out.note(`${out.errStyle.faint(ref.stream.slice(4))}  ${out.errStyle.bad(error.code)}  ${error.message}`)
  })
  const stop = interruptible(out, 'finishing what acts outside; once more to quit at once')
  const began = clock.now()
  try {
    const ledger = await app.ledger()
    await app.work()
    out.note(`works on ${shownPlace(place)}, tenant ${app.tenant}. Ctrl-C is safe.`)
    const records = ledger.watch(app.tenant, 'now')[Symbol.asyncIterator]()
    stop.signal.addEventListener('abort', () => void records.return?.(), { once: true })
    for (let next = await records.next(); next.done !== true && !stop.signal.aborted; next = await records.next()) {
      const { record } = next.value
      if (!record.stream.startsWith('run/')) continue
      const told = tell(record, out.errStyle)
      if (told !== undefined) out.note(progressLine(told, record.at - began, out.errStyle, record.stream.slice(4)))
    }
    return stop.by() === 'SIGTERM' ? exit.ok : exit.interrupted
  } finally {
    stop.off()
    await app.close()
  }
}
