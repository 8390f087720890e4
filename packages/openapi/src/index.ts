export { apiKey, basic, bearer, clientCredentials, type Auth, type ClientCredentials, type Credential } from './auth.ts'
export type { DocumentSource } from './document.ts'
export type { Fill } from './request.ts'
export type { Choice } from './select.ts'
export type { ServerChoice } from './server.ts'
export {
  openApiTools,
  type Declared,
  type DeclaredEffect,
  type OpenApiOptions,
  type OpenApiTools,
  type OperationTool,
} from './tools.ts'
