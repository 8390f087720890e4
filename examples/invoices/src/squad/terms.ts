import type { Grant, StartOptions } from 'convoke'
import { everything, type Protections } from './protections.ts'

/** The firm's own domain: the only one that a role may write to. */
export const ownDomain = 'nordhafen.example'

const currencies = ['EUR', 'GBP', 'USD']
/** More is no payment of this squad, whoever approves. */
const ceiling = '50000.00'

const payable = [
  { at: '/body/amount', min: '0.01', max: ceiling },
  { at: '/body/currency', in: currencies },
]

/** What a run may do at all, its workflow included: roles have less. */
const grants: readonly Grant[] = [
  { tool: 'document.read' },
  { tool: 'erp.*', effects: ['read'] },
  { tool: 'erp.registerInvoice' },
  { tool: 'erp.createPayment', args: payable },
  { tool: 'erp.applyCredit', args: payable },
  { tool: 'erp.reversePayment' },
  { tool: 'mail.draft', args: ['/cc/*', '/bcc/*'].map((at) => ({ at, domains: [ownDomain] })) },
  // To whom is a person's decision each time; copies stay in the house.
  { tool: 'mail.send', args: ['/cc/*', '/bcc/*'].map((at) => ({ at, domains: [ownDomain] })) },
]

/**
 * How a run is started on a file that a stranger sent: everything in it is untrusted from its first record, and what the
 * run may do is bounded, also in its children and forks.
 */
export function termsOf({ scopes, labels }: Protections = everything): Pick<StartOptions, 'labels' | 'grants'> {
  return {
    ...(labels ? { labels: { integrity: 'untrusted', confidentiality: [], sources: ['document'] } } : {}),
    ...(scopes ? { grants } : {}),
  }
}
