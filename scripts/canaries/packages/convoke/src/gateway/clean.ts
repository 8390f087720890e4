// Control: the gateway stands above core and may use it.
import { digest } from '../core/clean.ts'

export type Held = string
export const held: Held = digest('held')
