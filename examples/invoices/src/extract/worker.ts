import { parentPort } from 'node:worker_threads'
import type { Extracted, ExtractOptions } from './document.ts'
import { readInvoice } from './read.ts'

/** One question to the reading thread; `id` is its own answer's. */
export interface Question {
  readonly id: number
  readonly bytes: Uint8Array
  readonly options: ExtractOptions
}

export interface Answer {
  readonly id: number
  readonly extracted: Extracted
}

parentPort?.on('message', (question: Question) => {
  void readInvoice(question.bytes, question.options).then((extracted) => {
    parentPort?.postMessage({ id: question.id, extracted } satisfies Answer)
  })
})
