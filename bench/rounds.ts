import { median } from './quantile.ts'

/** How often a crowd of runs goes through: the first time, soon after, and when the engine has compiled what it will. */
export const rounds = 16
const warm = { from: 1, to: 4 }
const steady = { from: 8, to: rounds }

interface Rate {
  readonly metric: 'steps_per_s' | 'steps_per_s_warm' | 'steps_per_s_steady'
  readonly value: number
  readonly note?: string
}

/** Steps a second of the first round, and the medians of the next and of the last. `times` in milliseconds, one a round. */
export function ratesOf(times: readonly number[], stepsInRound: number): Rate[] {
  const perSecond = times.map((ms) => (stepsInRound / ms) * 1000)
  const middle = ({ from, to }: { readonly from: number; readonly to: number }): Omit<Rate, 'metric'> => ({
    value: median(perSecond.slice(from, to)),
    note: `median of rounds ${from + 1} to ${to}`,
  })
  return [
    { metric: 'steps_per_s', value: perSecond[0] ?? NaN },
    ...(times.length < warm.to ? [] : [{ metric: 'steps_per_s_warm', ...middle(warm) } as const]),
    ...(times.length < steady.to ? [] : [{ metric: 'steps_per_s_steady', ...middle(steady) } as const]),
  ]
}
