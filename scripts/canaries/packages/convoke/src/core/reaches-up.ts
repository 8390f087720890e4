// Canary: core imports nothing but hashing; every line below breaks that.
import { readFileSync } from 'node:fs'
import { z } from 'zod'
import { held } from '../gateway/clean.ts'
import type { Held } from '../gateway/clean.ts'
export { held as again } from '../gateway/clean.ts'

export const later = (): Promise<unknown> => import('../gateway/clean.ts')
export const all: readonly unknown[] = [readFileSync, z, held satisfies Held]
