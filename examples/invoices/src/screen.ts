import type { Ledger, Model } from 'convoke'
import type { InboxItem } from './inbox.ts'
import { describe, numberIn, type Caught } from './lines.ts'

export interface Screen {
  header(about: {
    readonly store: string
    readonly model: Model
    readonly erp: string
    readonly files: number
    readonly roles: number
    readonly concurrency: number
  }): void
  /** Names a run by its invoice's number, once it is known. */
  know(run: string, number: string): void
  note(text: string): void
  /** Resolves when everything committed so far has been printed. */
  settle(): Promise<void>
  end(summary: {
    readonly table: string
    readonly erp: string
    /** Invoices that made an agent try what it may not. */
    readonly lookAt: readonly string[]
    readonly next: readonly string[]
  }): void
  stop(): void
}

/** Follows the ledger and prints what happens to the runs of this inbox, from all processes that drive them. */
export function follow(ledger: Ledger, tenant: string, items: readonly InboxItem[]): Screen {
  const labels = new Map(items.map((item) => [`run/${item.run}`, item.file]))
  const caught: Caught = {
    unsupported: 0,
    malformed: 0,
    badDrafts: 0,
    duplicates: new Set(),
    overdraws: new Set(),
    refused: 0,
  }
  const began = performance.now()
  let stopped = false
  let printed = 0
  const out = (text: string): void => void process.stdout.write(`${text}\n`)

  const watching = (async () => {
    for await (const { position, record } of ledger.watch(tenant, 'now')) {
      if (stopped) return
      printed = position
      const label = labels.get(record.stream)
      if (label === undefined) continue
      const number = numberIn(record)
      if (number !== undefined) labels.set(record.stream, number)
      const line = describe(record, caught)
      if (line !== undefined)
        out(`${clock(performance.now() - began)} ${(number ?? label).padEnd(14)} ${line.who.padEnd(11)} ${line.says}`)
    }
  })()
  watching.catch(() => undefined)

  return {
    header({ store, model, erp, files, roles, concurrency }) {
      out(
        `Convoke · store ${relative(store)} · model: ${model.kind === 'scripted' ? 'scripted (rules, not AI)' : model.id} · ERP ${erp.replace(/^https?:\/\//, '')}`,
      )
      out(`${files} ${files === 1 ? 'invoice' : 'invoices'}, ${roles} roles, ${concurrency} at once. Ctrl-C is safe.`)
    },
    know: (run, number) => void labels.set(`run/${run}`, number),
    note: out,
    async settle() {
      for (let before = -1; before !== printed;) {
        before = printed
        await new Promise((resolve) => setTimeout(resolve, 60))
      }
    },
    end({ table, erp, lookAt, next }) {
      out(`\n${table}\n`)
      const parts = [
        count(caught.unsupported, 'unsupported claim'),
        count(caught.malformed, 'malformed answer'),
        count(caught.badDrafts, 'bad draft'),
        count(caught.duplicates.size, 'duplicate'),
        count(caught.overdraws.size, 'overdraw'),
        count(caught.refused, 'forbidden call'),
      ].filter((part) => part !== '')
      out(parts.length === 0 ? 'Caught: nothing new' : `Caught: ${parts.join(', ')}`)
      if (lookAt.length > 0)
        out(`Look at ${lookAt.join(', ')}: what they say made the model try what it may not. Nothing of it happened.`)
      out(erp)
      out(`Next: ${next.join(' · ')}`)
    },
    stop() {
      stopped = true
    },
  }
}

function count(n: number, what: string): string {
  return n === 0 ? '' : `${n} ${what}${n === 1 ? '' : 's'}`
}

function clock(ms: number): string {
  const seconds = Math.floor(ms / 1000)
  return `${String(Math.floor(seconds / 60)).padStart(2, '0')}:${String(seconds % 60).padStart(2, '0')}`
}

/** As it is named from where the command was given. */
export function relative(path: string): string {
  const here = `${process.env['INIT_CWD'] ?? process.cwd()}/`
  return path.startsWith(here) ? path.slice(here.length) : path
}
