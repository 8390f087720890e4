// Code tools that can be ended: threads and processes with limits (docs/isolation.md).
export type { IsolatedContext, IsolatedFunction } from './isolate/context.ts'
export { isolated, type IsolatedOptions } from './isolate/isolated.ts'
