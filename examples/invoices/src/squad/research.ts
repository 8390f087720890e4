import { agent, answer, ConvokeError, role, type Agent, type AgentContext, type AnyRole, type Role } from 'convoke'
import { z } from 'zod'
import { desk, type Desk, type Seen } from './desk.ts'
import { isRefusal, type Erp, type Refusal } from './erp-tools.ts'
import { lookUp } from './scopes.ts'
import { research, type Research } from './types.ts'

// What the supervisor can send out for: each role looks up one thing in the books and says it in sentences, each with
// its quote.

function researchRole<I>(
  name: string,
  description: string,
  input: z.ZodType<I>,
  operations: readonly string[],
): Role<I, Research> {
  return role({ name, description, input, output: research, evidence: 'required', grants: lookUp(...operations) })
}

export const deliveries = researchRole(
  'deliveries',
  'Finds what was received on a purchase order.',
  z.strictObject({ po: z.string() }),
  ['getReceipts'],
)
export const prices = researchRole(
  'price-history',
  'Finds the prices of an article over time.',
  z.strictObject({ article: z.string() }),
  ['getPriceHistory'],
)
export const payments = researchRole(
  'payments',
  'Finds what was paid on a purchase order and what is open.',
  z.strictObject({ po: z.string() }),
  ['getOrderPayments'],
)
export const orders = researchRole(
  'orders',
  'Reads a purchase order by its number; fails when there is none.',
  z.strictObject({ po: z.string() }),
  ['getPurchaseOrder'],
)
export const orderSearch = researchRole(
  'order-search',
  'Looks for purchase orders of a seller.',
  z.strictObject({ seller: z.string() }),
  ['findVendors', 'findPurchaseOrders'],
)
export const masterData = researchRole(
  'master-data',
  'Reads what the books say of a seller.',
  z.strictObject({ seller: z.string() }),
  ['findVendors'],
)

export const researchRoles: Readonly<Record<string, AnyRole>> = {
  deliveries,
  prices,
  payments,
  orders,
  orderSearch,
  masterData,
} as unknown as Record<string, AnyRole>

type Note = (says: string, ...evidence: readonly { readonly ref: string; readonly quote: string }[]) => void

function researcher<I>(
  its: Role<I, Research>,
  topic: string,
  work: (at: Desk, input: I, note: Note) => Promise<void>,
): Agent {
  return agent({
    role: its,
    run: async (context: AgentContext, input: I) => {
      const at = desk(context)
      const facts: string[] = []
      await work(at, input, (says, ...evidence) => {
        facts.push(says)
        at.claim(says, ...evidence)
      })
      return answer({ topic, facts }, { claims: at.claims })
    },
  })
}

const first = 20

/** What shows that there is nothing: the ERP's refusal, or its empty list. */
function nothingIn(seen: Seen<object | Refusal>): { readonly ref: string; readonly quote: string } {
  return { ref: seen.id, quote: isRefusal(seen.value) ? seen.quote('body', 'code') : '"items":[]' }
}

export function researchAgents(erp: Erp): Agent[] {
  return [
    researcher(deliveries, 'deliveries', async (at, { po }, note) => {
      const seen = await at.call(erp.getReceipts, { number: po })
      if (isRefusal(seen.value) || seen.value.items.length === 0) {
        note('nothing was received', nothingIn(seen))
        return
      }
      seen.value.items.slice(0, first).forEach((item, i) => {
        note(
          `${item.quantity} received with ${item.number} on ${item.date}`,
          { ref: seen.id, quote: seen.quote('items', i, 'number') },
          { ref: seen.id, quote: seen.quote('items', i, 'quantity') },
          { ref: seen.id, quote: seen.quote('items', i, 'date') },
        )
      })
    }),
    researcher(prices, 'price history', async (at, { article }, note) => {
      const seen = await at.call(erp.getPriceHistory, { article })
      if (isRefusal(seen.value) || seen.value.items.length === 0) {
        note('no price is on file', nothingIn(seen))
        return
      }
      seen.value.items.slice(0, first).forEach((item, i) => {
        note(
          `${item.unitPrice} from ${item.validFrom} by ${item.source}`,
          { ref: seen.id, quote: seen.quote('items', i, 'unitPrice') },
          { ref: seen.id, quote: seen.quote('items', i, 'validFrom') },
          { ref: seen.id, quote: seen.quote('items', i, 'source') },
        )
      })
    }),
    researcher(payments, 'payments', async (at, { po }, note) => {
      const seen = await at.call(erp.getOrderPayments, { number: po })
      if (isRefusal(seen.value)) {
        note('no such purchase order', nothingIn(seen))
        return
      }
      note(
        `${seen.value.paid} paid, ${seen.value.open} open`,
        { ref: seen.id, quote: seen.quote('paid') },
        { ref: seen.id, quote: seen.quote('open') },
      )
    }),
    researcher(orders, 'purchase order', async (at, { po }, note) => {
      const seen = await at.call(erp.getPurchaseOrder, { number: po })
      if (isRefusal(seen.value))
        throw new ConvokeError('PO_UNKNOWN', `purchase order ${po} is not in the books`, {
          details: { po },
          next: 'look for orders of the seller',
        })
      note(
        `ordered on ${seen.value.date}, total ${seen.value.total}`,
        { ref: seen.id, quote: seen.quote('date') },
        { ref: seen.id, quote: seen.quote('total') },
      )
    }),
    researcher(orderSearch, 'orders of the seller', async (at, { seller }, note) => {
      const vendors = await at.call(erp.findVendors, { name: seller })
      const vendor = vendors.value.items[0]
      if (vendor === undefined) {
        note('the seller is not in the books', { ref: vendors.id, quote: '"items":[]' })
        return
      }
      const seen = await at.call(erp.findPurchaseOrders, { vendor: vendor.id })
      if (seen.value.items.length === 0)
        note('no order of this seller is on file', { ref: seen.id, quote: '"items":[]' })
      seen.value.items.slice(0, first).forEach((item, i) => {
        note(
          `${item.number} of ${item.date} over ${item.total}`,
          { ref: seen.id, quote: seen.quote('items', i, 'number') },
          { ref: seen.id, quote: seen.quote('items', i, 'date') },
          { ref: seen.id, quote: seen.quote('items', i, 'total') },
        )
      })
    }),
    researcher(masterData, 'master data', async (at, { seller }, note) => {
      const seen = await at.call(erp.findVendors, { name: seller })
      const vendor = seen.value.items[0]
      if (vendor === undefined) note('the seller is not in the books', { ref: seen.id, quote: '"items":[]' })
      else note(`the account on file is ${vendor.iban}`, { ref: seen.id, quote: seen.quote('items', 0, 'iban') })
    }),
  ]
}
