export { restateDispatcher, type RestateDispatcherOptions } from './dispatcher.ts'
export type { Pin } from './names.ts'
