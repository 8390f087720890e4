import type { Clock, Ids } from '../ports/runtime.ts'

const patienceMs = 500

/** Wakes the one loop that waits for something to happen. A ring before the wait is not lost. */
export class Bell {
  #waiting: (() => void) | undefined
  #rung = false

  ring(): void {
    if (this.#waiting === undefined) {
      this.#rung = true
      return
    }
    this.#waiting()
    this.#waiting = undefined
  }

  /** Resolves at the first ring since the last call. */
  next(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#rung) resolve()
      else this.#waiting = resolve
      this.#rung = false
    })
  }
}

/** Whether and why something is over, once and for good. Its signal is made when first asked for: most never look. */
export class Ending {
  #controller: AbortController | undefined
  #reason: Error | undefined

  get over(): boolean {
    return this.#reason !== undefined
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.#reason !== undefined) this.#controller.abort(this.#reason)
    }
    return this.#controller.signal
  }

  /** Only the first reason counts. */
  abort(reason: Error): void {
    this.#reason ??= reason
    this.#controller?.abort(this.#reason)
  }
}

/** Lets acts pass, or holds them back while a run parks, so that nothing begins meanwhile. */
export class Gate {
  #held: (() => void)[] | undefined

  close(): void {
    this.#held ??= []
  }

  open(): void {
    const held = this.#held ?? []
    this.#held = undefined
    for (const act of held) act()
  }

  pass(act: () => void): void {
    if (this.#held === undefined) act()
    else this.#held.push(act)
  }
}

/** Waits up to half a second for something to come true; false when it does not, or when it is no use any more. */
export async function patiently(clock: Clock, holds: () => boolean, useless: () => boolean): Promise<boolean> {
  const until = clock.monotonic() + patienceMs
  while (clock.monotonic() < until && !useless()) {
    await new Promise<void>((resolve) => setTimeout(resolve, 5))
    if (holds()) return true
  }
  return false
}

/**
 * A run whose incarnations keep ending without a record may be what ends the process, or only have been beside it. It
 * waits for a time of its own, so that the others of them get on meanwhile, however often the process starts again.
 */
export async function lastInLine(
  { clock, ids }: { readonly clock: Clock; readonly ids: Ids },
  fruitless: number,
  signal: AbortSignal,
): Promise<void> {
  if (fruitless < 2) return
  const share = Number.parseInt(ids.salt().slice(0, 8), 16) / 2 ** 32
  await clock.sleep(share * Math.min(10_000, 50 * 2 ** fruitless), signal).catch(() => undefined)
}
