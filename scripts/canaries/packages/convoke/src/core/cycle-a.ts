// Canary: cycle-a and cycle-b import each other.
import { b } from './cycle-b.ts'

export const a = (n: number): number => (n === 0 ? 0 : b(n - 1))
