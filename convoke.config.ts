// For the command line in this folder: the squad of examples/invoices, as `npm start` runs it.
export { config } from './examples/invoices/convoke.config.ts'
