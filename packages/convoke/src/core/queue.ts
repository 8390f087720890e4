/** Places at the front that may stand empty. */
const slack = 64

/**
 * First in, first out. An array that is shifted until it is empty lets go of its store and makes another with the next
 * push; this one keeps it, so who has one entry at a time, over and over, makes nothing.
 */
export class Queue<T> {
  readonly #items: (T | undefined)[] = []
  #head = 0
  #tail = 0

  get length(): number {
    return this.#tail - this.#head
  }

  get first(): T | undefined {
    return this.#items[this.#head]
  }

  push(item: T): void {
    this.#items[this.#tail++] = item
  }

  shift(): T | undefined {
    if (this.#head === this.#tail) return undefined
    const item = this.#items[this.#head]
    this.#items[this.#head++] = undefined
    if (this.#head === this.#tail) this.#head = this.#tail = 0
    else if (this.#head > slack && this.#head > this.#tail / 2) {
      this.#items.splice(0, this.#head)
      this.#tail -= this.#head
      this.#head = 0
    }
    return item
  }

  unshift(item: T): void {
    if (this.#head > 0) this.#items[--this.#head] = item
    else {
      this.#items.splice(0, 0, item)
      this.#tail++
    }
  }
}
