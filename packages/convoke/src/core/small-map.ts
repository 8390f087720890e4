/**
 * A map by text, in order of insertion, that has no table while it holds one entry at most. A `Map` makes a new table
 * whenever it empties, and whoever is driven step by step empties several with each of them.
 */
export class SmallMap<K extends string, V> {
  #key: K | undefined
  #value: V | undefined
  #more: Map<K, V> | undefined

  get size(): number {
    return this.#more?.size ?? (this.#key === undefined ? 0 : 1)
  }

  get(key: K): V | undefined {
    if (this.#more !== undefined) return this.#more.get(key)
    return this.#key === key ? this.#value : undefined
  }

  has(key: K): boolean {
    return this.#more === undefined ? this.#key === key : this.#more.has(key)
  }

  set(key: K, value: V): void {
    if (this.#more !== undefined) this.#more.set(key, value)
    else if (this.#key === undefined || this.#key === key) {
      this.#key = key
      this.#value = value
    } else {
      this.#more = new Map([
        [this.#key, this.#value as V],
        [key, value],
      ])
      this.#key = undefined
      this.#value = undefined
    }
  }

  delete(key: K): void {
    if (this.#more === undefined) {
      if (this.#key === key) this.clear()
      return
    }
    this.#more.delete(key)
    if (this.#more.size === 0) this.#more = undefined
  }

  clear(): void {
    this.#key = undefined
    this.#value = undefined
    this.#more = undefined
  }

  keys(): Iterable<K> {
    if (this.#more !== undefined) return this.#more.keys()
    return this.#key === undefined ? [] : [this.#key]
  }

  values(): Iterable<V> {
    if (this.#more !== undefined) return this.#more.values()
    return this.#key === undefined ? [] : [this.#value as V]
  }

  [Symbol.iterator](): Iterator<[K, V]> {
    if (this.#more !== undefined) return this.#more[Symbol.iterator]()
    const all: [K, V][] = this.#key === undefined ? [] : [[this.#key, this.#value as V]]
    return all[Symbol.iterator]()
  }
}
