import { ConvokeError, toErrorData } from '../core/errors.ts'
import type { Json } from '../core/json.ts'
import { joinPath } from '../core/path.ts'
import type { AttemptOptions, MapOptions, Verdict } from './durable-run.ts'
import { enter, leave } from './claims.ts'
import { Scope } from './scope.ts'
import { ContinueAs } from './workflow.ts'

type Code<R, T> = (run: R) => Promise<T>
type Derive<R> = (scope: Scope) => R

/** Opens a scope under a name; the name is free again once `done` was called. */
function open(parent: Scope, name: string): { readonly scope: Scope; readonly done: () => void } {
  const repeat = enter(parent, name)
  const scope = new Scope(parent.engine, joinPath(parent.path, name, repeat), parent)
  return {
    scope,
    done: () => {
      scope.join()
      leave(parent, name)
    },
  }
}

async function branch<R, T>(outer: Scope, name: string, derive: Derive<R>, code: Code<R, T>): Promise<T> {
  const scope = new Scope(outer.engine, joinPath(outer.path, name, 1), outer)
  const value = await code(derive(scope))
  scope.join()
  return value
}

/** Gives up what is left of a scope and waits until nothing it sent outside is in doubt. */
async function giveUp(scope: Scope, reason: unknown): Promise<void> {
  scope.engine.abandon(scope, reason)
  await scope.engine.settled(scope)
}

export async function all<R>(
  parent: Scope,
  derive: Derive<R>,
  name: string,
  branches: Readonly<Record<string, Code<R, unknown>>>,
): Promise<Record<string, unknown>> {
  const { scope, done } = open(parent, name)
  const names = Object.keys(branches)
  try {
    const values = await Promise.all(names.map((key) => branch(scope, key, derive, branches[key] as Code<R, unknown>)))
    return Object.fromEntries(names.map((key, i) => [key, values[i]]))
  } catch (error) {
    await giveUp(scope, error)
    throw error
  } finally {
    done()
  }
}

export async function race<R>(
  parent: Scope,
  derive: Derive<R>,
  name: string,
  branches: Readonly<Record<string, Code<R, unknown>>>,
): Promise<{ winner: string; value: unknown }> {
  const { scope, done } = open(parent, name)
  const names = Object.keys(branches)
  if (names.length === 0)
    throw new ConvokeError('DEFINITION_INVALID', `race ${scope.path} has no branches`, {
      next: 'give it at least one named branch',
    })
  try {
    const first = await Promise.race(
      names.map((winner) =>
        branch(scope, winner, derive, branches[winner] as Code<R, unknown>).then(
          (value) => ({ winner, value, error: undefined as unknown, ok: true }),
          (error: unknown) => ({ winner, value: undefined, error, ok: false }),
        ),
      ),
    )
    await parent.engine.claim(parent, {
      kind: 'race',
      name,
      path: scope.path,
      record: 'race.won',
      immediate: () => ({ value: { winner: first.winner, ok: first.ok } }),
    })
    scope.engine.abandon(scope, new ConvokeError('SCOPE_CANCELLED', `branch ${first.winner} won the race`))
    if (!first.ok) throw first.error
    return { winner: first.winner, value: first.value }
  } finally {
    done()
  }
}

export async function mapSettled<R, I, T>(
  parent: Scope,
  derive: Derive<R>,
  name: string,
  items: readonly I[],
  options: MapOptions<I>,
  each: (run: R, item: I) => Promise<T>,
  failFast: boolean,
): Promise<PromiseSettledResult<T>[]> {
  const keys = items.map(options.key)
  const seen = new Set<string>()
  for (const key of keys) {
    if (seen.has(key))
      throw new ConvokeError('NAME_INVALID', `two items of map ${name} have the key ${JSON.stringify(key)}`, {
        details: { key },
        next: 'make the key unique among the items',
      })
    seen.add(key)
  }
  const bound = options.concurrency ?? 8
  if (!Number.isSafeInteger(bound) || bound < 1)
    throw new ConvokeError(
      'DEFINITION_INVALID',
      `concurrency of map ${name} is ${bound}; expected a whole number of at least 1`,
    )
  const { scope, done } = open(parent, name)
  const results: PromiseSettledResult<T>[] = []
  let next = 0
  const work = async (): Promise<void> => {
    while (next < items.length) {
      const i = next++
      try {
        results[i] = {
          status: 'fulfilled',
          value: await branch(scope, keys[i] as string, derive, (run) => each(run, items[i] as I)),
        }
      } catch (reason) {
        if (failFast || scope.dead) throw reason
        results[i] = { status: 'rejected', reason }
      }
    }
  }
  try {
    await Promise.all(Array.from({ length: Math.min(bound, items.length) }, work))
    return results
  } catch (error) {
    await giveUp(scope, error)
    throw error
  } finally {
    done()
  }
}

export async function attempt<R, T>(
  parent: Scope,
  derive: Derive<R>,
  name: string,
  alternatives: Readonly<Record<string, Code<R, T>>>,
  options: AttemptOptions<R, T>,
): Promise<T> {
  const { scope, done } = open(parent, name)
  const rejected: { alternative: string; reason: Json }[] = []
  try {
    for (const [alternative, code] of Object.entries(alternatives)) {
      const inner = new Scope(scope.engine, joinPath(scope.path, alternative, 1), scope, { transaction: true })
      try {
        const value = await code(derive(inner))
        const verdict: Verdict =
          options.verify === undefined ? { ok: true } : await options.verify(value, derive(inner))
        if (!verdict.ok)
          throw new ConvokeError(
            'VERIFICATION_FAILED',
            `the verifier rejected ${inner.path}: ${(verdict.problems ?? ['no reason given']).join('; ')}`,
            {
              details: { alternative, problems: verdict.problems ?? [] },
            },
          )
        inner.commit()
        inner.join()
        await note(scope, inner, 'attempt.committed', { alternative })
        return value
      } catch (error) {
        if (error instanceof ContinueAs || scope.dead) throw error
        await giveUp(inner, error)
        await scope.engine.rollback(inner)
        inner.join()
        const reason = { ...toErrorData(error) } as unknown as Json
        rejected.push({ alternative, reason })
        await note(scope, inner, 'attempt.rolledback', { alternative, reason })
      }
    }
    throw new ConvokeError(
      'ATTEMPTS_EXHAUSTED',
      `every alternative of ${scope.path} was rejected: ${rejected.map((r) => r.alternative).join(', ')}`,
      {
        details: { path: scope.path, rejected },
        next: 'add an alternative, or let a person decide with run.decide()',
      },
    )
  } finally {
    done()
  }
}

async function note(outer: Scope, inner: Scope, record: string, value: Json): Promise<void> {
  await outer.engine.claim(outer, {
    kind: 'attempt',
    name: 'attempt',
    path: `${inner.path}~${record.slice(8)}`,
    record,
    immediate: () => ({ value }),
  })
}
