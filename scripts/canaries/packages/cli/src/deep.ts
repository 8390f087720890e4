// Canary: the command line sees the library's public subpaths only.
import { digest } from '../../../convoke/src/core/clean.ts'

export const short = (text: string): string => digest(text).slice(0, 8)
