/** The line that every benchmark prints, ours and the peers', and the two ways to print it. */

/** The workloads' names are fixed, so that lines of several programs can be put side by side. */
export const WORKLOADS = [
  'chain',
  'conversation',
  'concurrent',
  'fanout',
  'recovery',
  'parked',
  'coldstart',
  'install',
] as const

export type Workload = (typeof WORKLOADS)[number]

/** What only Convoke is measured on. */
export const OWN_WORKLOADS = ['wake', 'ledger', 'scale', 'gateway', 'specs', 'growth', 'isolation'] as const

export type OwnWorkload = (typeof OWN_WORKLOADS)[number]

/** One measured figure; printed as one JSON object a line. */
export interface Measure {
  /** `limits` is what the machine can do at best, in the same run. */
  readonly workload: Workload | OwnWorkload | 'limits'
  readonly system: string
  readonly metric: string
  /** `null`: the system cannot do this, or not in time; `note` says which. */
  readonly value: number | null
  readonly unit: string
  /** How many steps, turns, runs or branches the figure is about. */
  readonly size?: number
  /** `value` over the figure that `against` names. */
  readonly ratio?: number
  readonly against?: string
  /** Whether each acknowledged step was seen to reach the disk (counted, not read from documentation). */
  readonly synced?: boolean
  readonly note?: string
}

/**
 * Text of a fixed length that is the same for the same seed and that a store cannot compress much.
 * Every system of a comparison stores the same bytes.
 */
export function payload(bytes: number, seed: number): string {
  const alphabet = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_'
  const text = Array.from<string>({ length: bytes })
  // xorshift32 (Marsaglia 2003); its state must not be zero.
  let state = Math.imul(seed + 1, 0x9e3779b1) | 1
  for (let i = 0; i < bytes; i++) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    text[i] = alphabet.charAt(state & 63)
  }
  return text.join('')
}

/** Writes to standard output: one JSON object a line, or a table a workload for people. */
export function printMeasures(measures: readonly Measure[], json: boolean): void {
  const text = json ? measures.map((measure) => JSON.stringify(measure)).join('\n') : table(measures)
  if (text !== '') process.stdout.write(`${text}\n`)
}

/** The table that a person reads, grouped by workload in the order of `WORKLOADS`. */
export function table(measures: readonly Measure[]): string {
  const groups = ['limits', ...WORKLOADS, ...OWN_WORKLOADS].map((workload) => {
    const rows = measures.filter((measure) => measure.workload === workload).map(cells)
    if (rows.length === 0) return undefined
    const widths = HEADER.map((name, column) => Math.max(name.length, ...rows.map((row) => (row[column] ?? '').length)))
    return [workload, ...[HEADER, ...rows].map((row) => `  ${line(row, widths)}`)].join('\n')
  })
  return groups.filter((group) => group !== undefined).join('\n\n')
}

const HEADER = ['system', 'size', 'metric', 'value', 'unit', 'ratio', 'synced', 'note']
const RIGHT = new Set([1, 3])

function cells(measure: Measure): string[] {
  const ratio = measure.ratio === undefined ? '' : `${figure(measure.ratio)} of ${measure.against ?? '?'}`
  const synced = measure.synced === undefined ? '' : measure.synced ? 'yes' : 'no'
  const value = measure.value === null ? '-' : figure(measure.value)
  const size = measure.size === undefined ? '' : figure(measure.size)
  return [measure.system, size, measure.metric, value, measure.unit, ratio, synced, measure.note ?? '']
}

function line(row: readonly string[], widths: readonly number[]): string {
  const padded = row.map((cell, column) => {
    const width = widths[column] ?? 0
    return RIGHT.has(column) ? cell.padStart(width) : cell.padEnd(width)
  })
  return padded.join('  ').trimEnd()
}

/** Three significant digits, whole numbers from 100 on, with separators. */
function figure(value: number): string {
  if (!Number.isFinite(value)) return String(value)
  const rounded = Math.abs(value) >= 100 ? Math.round(value) : Number(value.toPrecision(3))
  return rounded.toLocaleString('en-US', { maximumFractionDigits: 6 })
}
