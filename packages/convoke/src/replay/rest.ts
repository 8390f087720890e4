/** As long as code may go on without a turn of the event loop, in milliseconds: everything else waits meanwhile. */
const atOnceMs = 2

let resting: (() => void)[] = []
let turned = 0

/**
 * All microtasks have run when the next turn begins: the code waits for nothing but us. Runs that rest in one turn go
 * on in one as well, so that what they send to the ledger travels together.
 */
export function rest(): Promise<void> {
  return new Promise((resolve) => {
    if (resting.push(resolve) === 1) setImmediate(goOn)
  })
}

function goOn(): void {
  turned = performance.now()
  const rested = resting
  resting = []
  for (const resolve of rested) resolve()
}

/**
 * All microtasks have run: code that waits for nothing but promises has gone as far as it gets. Cheaper than a turn of
 * the event loop; undefined when it is time for one.
 */
export function microtasks(): Promise<void> | undefined {
  if (performance.now() - turned > atOnceMs) return undefined
  return new Promise((resolve) => process.nextTick(resolve))
}
