// Canary: branches that change what they share. Lines marked "caught" are, the others are not.
interface Run {
  all: (name: string, branches: Record<string, (r: Run) => Promise<unknown>>) => Promise<unknown>
  map: (name: string, items: number[], each: (r: Run, item: number) => Promise<unknown>) => Promise<unknown>
  step: (name: string) => Promise<number>
}

export async function shared(run: Run, out: { n: number }): Promise<unknown> {
  let total = 0
  const seen: number[] = []
  const names = new Map<number, string>()
  await run.all('both', {
    a: async (r) => {
      total += await r.step('a') // caught
      const own: number[] = []
      own.push(1)
      return own
    },
    b: async (r) => {
      seen.push(await r.step('b')) // caught
      total++ // caught
      out.n = 2 // caught
      return names.get(1)
    },
  })
  await run.map('each', [1, 2], async (r, item) => {
    names.set(item, 'x') // caught
    const later = async (): Promise<void> => {
      total = await r.step('c') // caught
    }
    await later()
  })
  total = seen.map((n) => (total += n)).length
  return total
}
