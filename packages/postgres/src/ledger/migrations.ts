import { archiveFunctions } from './function-archive.ts'
import { copies } from './function-copies.ts'
import { appendOne } from './function-one.ts'
import { owning } from './function-owning.ts'
import { lookups } from './function-lookups.ts'
import { watching } from './function-watch.ts'
import { ready } from './function-ready.ts'
import { rebuild } from './function-rebuild.ts'
import { functions } from './functions.ts'
import { archiveTables, closing } from './tables-archive.ts'
import { lists } from './tables-lists.ts'
import { tables } from './tables.ts'

/**
 * One step of the schema, made in a transaction. Numbers go up by one and are never reused; a step that was released is
 * never changed. Workers of the version before go on working while the next one's steps are made: a step adds (tables,
 * columns that may be null, functions under a new number) and takes nothing away that they use. What they no longer
 * need is taken away a version later, by a step with `breaks`.
 */
export interface Migration {
  readonly number: number
  readonly what: string
  readonly sql: string
  /** Builds that know nothing of this step can no longer work with the store. */
  readonly breaks?: true
}

export const migrations: readonly Migration[] = [
  { number: 1, what: 'tables', sql: tables },
  { number: 2, what: 'functions', sql: functions + owning + copies },
  { number: 3, what: 'append of one stream', sql: appendOne },
  { number: 4, what: 'lists by tag and by tenant', sql: lists },
  { number: 5, what: 'looks that say who is suspected', sql: watching },
  { number: 6, what: 'archives', sql: archiveTables + archiveFunctions + closing },
  { number: 7, what: 'lists written anew', sql: rebuild },
  { number: 8, what: 'due runs along the index', sql: ready },
  { number: 9, what: 'rows by name, many reads at once', sql: lookups },
]
