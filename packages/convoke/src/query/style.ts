/** How a text is painted. Plain unless said: the same text without any control characters. */
export interface Style {
  readonly strong: (text: string) => string
  readonly faint: (text: string) => string
  readonly good: (text: string) => string
  readonly bad: (text: string) => string
  readonly warn: (text: string) => string
}

const same = (text: string): string => text
export const plain: Style = { strong: same, faint: same, good: same, bad: same, warn: same }
