import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { IsolatedContext } from './context.ts'

// Tools that behave badly, for the tests.

export function add({ a, b }: { readonly a: number; readonly b: number }): { readonly sum: number } {
  return { sum: a + b }
}
export function facts(_: unknown, context: IsolatedContext): unknown {
  return {
    key: context.idempotencyKey,
    environment: Object.keys(process.env),
    canary: process.env['CONVOKE_CANARY'] ?? null,
  }
}
export function spin(): never {
  for (;;);
}
export function leak(): number {
  const kept: unknown[] = []
  for (;;) kept.push(Array.from({ length: 10_000 }, (_, i) => ({ i })))
}
export function leakOutside(): Promise<never> {
  const kept: Buffer[] = []
  setInterval(() => kept.push(Buffer.alloc(16 * 1024 * 1024, 1)), 5)
  return new Promise(() => undefined)
}
export function leave(): void {
  process.exit(7)
}
export function throwText(): never {
  // oxlint-disable-next-line typescript/only-throw-error -- what the test is about
  throw 'just text'
}
export function throwLater(): Promise<never> {
  setTimeout(() => {
    throw new Error('nobody catches this')
  }, 5)
  return new Promise(() => undefined)
}
export function huge(): string {
  return 'x'.repeat(4 * 1024 * 1024)
}
export function noData(): unknown {
  return { when: new Date(0), n: Number.NaN }
}
export async function deaf(): Promise<never> {
  const server = createServer().listen(0, '127.0.0.1')
  return new Promise(() => void server.ref())
}
export async function asks(_: unknown, context: IsolatedContext): Promise<string> {
  return `${(await context.secret('door')).length} letters`
}
/** Writes down who it is and whom it started, and never comes back. */
export function begets({ file }: { readonly file: string }): never {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' })
  writeFileSync(file, JSON.stringify([process.pid, child.pid]))
  for (;;);
}
