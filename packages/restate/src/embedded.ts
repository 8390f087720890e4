export {
  startEmbeddedRestate,
  type EmbeddedNode,
  type EmbeddedRestate,
  type EmbeddedRestateOptions,
} from './embedded/server.ts'
