export { createChain, type Chain, type ChainDraft } from './testing/chain.ts'
