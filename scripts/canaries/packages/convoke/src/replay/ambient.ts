// Canary: replayed code that reads the clock and the dice, opens files, leaves a promise alone and says `any`.
import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'

export const now = (): number => Date.now() + new Date().getTime() + Math.random()
export const id = (): string => randomUUID()
export const loose = (value: any): unknown => value
export function start(): void {
  readFile('x')
}
export * from '../core/clean.ts'
