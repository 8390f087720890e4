/** One scene of one workload, in a process of its own; started by harness.ts. Figures leave through descriptor 3. */
import { writeSync } from 'node:fs'
import type { Order, Scenes } from './harness.ts'

const order = JSON.parse(process.argv[2] ?? '{}') as Order
// Loaded by name, so that what another workload needs is no part of this one's time or memory.
const { scenes } = (await import(`./${order.workload}.ts`)) as { readonly scenes: Scenes }
const scene = scenes[order.scene]
if (scene === undefined) throw new Error(`workload ${order.workload} has no scene ${order.scene}`)
await scene(order, (figure) => void writeSync(3, `${JSON.stringify(figure)}\n`))
process.exit(0)
