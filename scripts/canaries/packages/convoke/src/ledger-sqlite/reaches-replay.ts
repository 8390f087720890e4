// Canary: an adapter knows ports and core only.
import { now } from '../replay/ambient.ts'

export const at: () => number = now
