// Canary: contracts stands below the gateway.
import { held } from '../gateway/clean.ts'

export const seen: string = held
