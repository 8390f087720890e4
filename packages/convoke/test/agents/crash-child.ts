import { probeFromEnv } from '../../src/testing/probe.ts'
import { scene } from './crash-scene.ts'
import { world } from './world.ts'

// Drives the scene's run in a process of its own, which the environment says where to kill.
const [dir = '', book = ''] = process.argv.slice(2)
const { cast, code } = scene(book)
const w = await world(cast, { dir })
await w.start(code, 'r')
const run = await w.go(code, 'r', cast, probeFromEnv())
process.stdout.write(JSON.stringify({ status: run.status, value: run.value, error: run.error }))
await w.close()
