import { runStream } from '../../src/core/projections.ts'
import type { EffectClass } from '../../src/gateway/tool.ts'
import { tenant, world } from './world.ts'
import { payTool } from './tools.ts'

// A worker that kills itself at a named point. Arguments: folder, run, url, effect class, point, time-out.
const [dir, run, url, effect, point, timeoutMs] = process.argv.slice(2) as [
  string,
  string,
  string,
  EffectClass,
  string,
  string,
]

const w = await world({}, { dir })
const pay = payTool(url, effect, { timeoutMs: Number(timeoutMs) })
const code = (r: Parameters<Parameters<typeof w.go>[0]>[0]): Promise<unknown> => r.call(pay, { amount: '5.00' })
await w.ledger.run({ tenant, stream: runStream(run) })
await w.go(code, run, {
  probe: (at) => {
    if (at === point) process.kill(process.pid, 'SIGKILL')
  },
})
await w.close()
