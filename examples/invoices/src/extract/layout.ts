import type { Segment } from './document.ts'

/** A piece of text as the PDF draws it: baseline start, width and font size in points, origin at the bottom left. */
export interface TextItem {
  readonly text: string
  readonly x: number
  readonly y: number
  readonly width: number
  readonly size: number
}

/** Items that a reader sees as one phrase: words of one baseline with no more than a space between them. */
export interface Cell {
  readonly page: number
  readonly text: string
  readonly x0: number
  readonly x1: number
  readonly y: number
  readonly size: number
}

/** Cells of about one baseline, from left to right. */
export interface Line {
  readonly id: string
  readonly cells: readonly Cell[]
  readonly text: string
}

export interface Layout {
  /** From the top of the first page to the bottom of the last. */
  readonly lines: readonly Line[]
  readonly cells: readonly Cell[]
}

// In em. A proportional space is about 0.25, a typewriter's 0.6; table columns begin at about 0.7.
const WORD_GAP = 0.68
// Two numbers apart by more than a narrow space are two numbers: 1 000,00 must not be made out of "1" and "000,00".
const DIGIT_GAP = 0.4
const TOUCHING = 0.1
const SAME_BASELINE = 0.25
const SAME_LINE = 0.35
// No phrase is longer; the rules' patterns are not run over what a hostile file calls one word.
const LONGEST = 1_000

export function layOut(pages: readonly (readonly TextItem[])[]): Layout {
  const lines: Line[] = []
  pages.forEach((items, index) => {
    const cells = toCells(items, index + 1)
    cells.sort((a, b) => b.y - a.y || a.x0 - b.x0)
    let row: Cell[] = []
    let count = 0
    const flush = (): void => {
      if (row.length === 0) return
      row.sort((a, b) => a.x0 - b.x0)
      lines.push({ id: `p${index + 1}.l${++count}`, cells: row, text: row.map((cell) => cell.text).join(' ') })
      row = []
    }
    for (const cell of cells) {
      const first = row[0]
      if (first !== undefined && first.y - cell.y > SAME_LINE * Math.max(first.size, cell.size)) flush()
      row.push(cell)
    }
    flush()
  })
  return { lines, cells: lines.flatMap((line) => line.cells) }
}

function toCells(items: readonly TextItem[], page: number): Cell[] {
  const shown = items.filter((item) => item.text.trim() !== '' && item.size > 0)
  const rows: TextItem[][] = []
  for (const item of [...shown].sort((a, b) => b.y - a.y)) {
    const row = rows.at(-1)
    const first = row?.[0]
    if (row && first && first.y - item.y <= SAME_BASELINE * Math.min(first.size, item.size)) row.push(item)
    else rows.push([item])
  }
  return rows.flatMap((row) => {
    const cells: Cell[] = []
    for (const item of row.sort((a, b) => a.x - b.x)) {
      const text = item.text.normalize('NFKC').replace(/\s+/g, ' ').trim().slice(0, LONGEST)
      const last = cells.at(-1)
      const gap = last === undefined ? Infinity : (item.x - last.x1) / Math.max(last.size, item.size)
      const digits = last !== undefined && /\d$/.test(last.text) && /^\d/.test(text)
      if (last !== undefined && last.text.length < LONGEST && gap > -0.5 && gap <= (digits ? DIGIT_GAP : WORD_GAP)) {
        const joined = `${last.text}${gap > TOUCHING ? ' ' : ''}${text}`
        cells[cells.length - 1] = { ...last, text: joined, x1: Math.max(last.x1, item.x + item.width) }
      } else {
        cells.push({ page, text, x0: item.x, x1: item.x + item.width, y: item.y, size: item.size })
      }
    }
    return cells
  })
}

/**
 * The cells right of one, nearest first: those of its baseline, else (labels are often set smaller and higher than
 * their values) those within 0.65 em of it.
 */
export function rightOf(layout: Layout, cell: Cell): Cell[] {
  const right = layout.cells.filter((other) => other.page === cell.page && other.x0 >= cell.x1 - 1)
  const within = (em: number): Cell[] =>
    right.filter((other) => Math.abs(other.y - cell.y) <= em * Math.max(cell.size, other.size))
  const level = within(SAME_BASELINE)
  return (level.length > 0 ? level : within(0.65)).sort((a, b) => a.x0 - b.x0)
}

/** The nearest cell under one that overlaps it horizontally, at most `em` font sizes lower. */
export function below(layout: Layout, cell: Cell, em: number): Cell | undefined {
  return layout.cells
    .filter((other) => other.page === cell.page && other.x0 < cell.x1 && other.x1 > cell.x0)
    .filter((other) => cell.y - other.y > 0.5 * cell.size && cell.y - other.y <= em * cell.size)
    .sort((a, b) => b.y - a.y)[0]
}

export function toSegments(layout: Layout): Segment[] {
  return layout.lines.map((line) => ({ id: line.id, text: line.text }))
}
