export { restateDispatcher, type RestateDispatcherOptions } from './dispatcher.ts'
export type { Pin } from './names.ts'
export { inspectEngine, openEngine, type EngineFinding, type RestateEngineOptions } from './open.ts'
