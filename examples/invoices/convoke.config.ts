import { join, resolve } from 'node:path'
import { defineConfig, resolveModel, type ConvokeOptions } from 'convoke'
import { startErp, type Erp } from './src/erp/start.ts'
import { scriptedSquadModel } from './src/squad/rules/index.ts'
import { squadOptions } from './src/squad/squad.ts'

// The squad for the command line: `convoke resume --app examples/invoices/convoke.config.ts` goes on with what
// `npm start` began. The ERP is started when a tool first needs it.

const store = resolve(process.env['CONVOKE_STORE'] ?? '.convoke')
const spec = process.env['CONVOKE_MODEL']
let erp: Promise<Erp> | undefined

export const config: ConvokeOptions = defineConfig({
  ...(await squadOptions({
    store,
    erpUrl: async () =>
      (await (erp ??= startErp({ dataDir: process.env['CONVOKE_ERP_DATA'] ?? join(store, 'erp') }))).url,
    outbox: join(store, 'outbox'),
    model: spec === undefined ? scriptedSquadModel() : await resolveModel(spec, process.env),
  })),
  onClose: async () => (await erp)?.stop(),
})
