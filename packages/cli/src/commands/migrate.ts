import { ConvokeError, shownAddress, storeModule } from 'convoke'
import { openSqliteLedger } from 'convoke/sqlite'
import { openLedgerAt, storePlace, type Context } from '../context.ts'
import { hintsFrom } from '../config.ts'
import { exit } from '../exit.ts'

export interface MigrateFlags {
  readonly dryRun?: boolean
  readonly rebuild?: boolean
}

/** `convoke migrate`: brings a database's schema to this version. A folder needs none: it is done when it is opened. */
export async function migrateCommand(context: Context, flags: MigrateFlags): Promise<number> {
  const { out } = context
  const place = storePlace(context, await hintsFrom(context.cwd, context.common.app, ['store']))
  if (place.kind === 'own')
    throw new ConvokeError('STORE_UNUSABLE', 'the configuration opens a store of its own, which only it can migrate', {
      next: 'name the store with --store postgres://…',
    })
  if (place.kind === 'folder') {
    const rebuild = flags.rebuild === true && flags.dryRun !== true
    if (rebuild) {
      // One that is not there is not made.
      await (await openLedgerAt(place)).close()
      await (await openSqliteLedger({ dir: place.dir, rebuild })).close()
    }
    out.data(
      { from: null, to: null, applied: [] },
      () =>
        `${place.dir}: ${rebuild ? 'the lists of runs and approvals were written anew' : 'a folder is brought up to date when it is opened'}`,
    )
    return exit.ok
  }
  const module = await storeModule(place.address)
  const where = shownAddress(place.address)
  if (module.migrateStore === undefined) {
    out.data({ from: null, to: null, applied: [] }, () => `${where}: this kind of store needs no migrations`)
    return exit.ok
  }
  const done = await module.migrateStore(place.address, {
    ...(flags.dryRun === true ? { dryRun: true } : {}),
    ...(flags.rebuild === true ? { rebuild: true } : {}),
  })
  out.data(done, () =>
    done.applied.length === 0 && done.rebuilt === undefined
      ? `${where}: schema ${done.to}, nothing to do`
      : [
          `${where}: schema ${done.from} → ${done.to}${flags.dryRun === true ? ' (dry run: nothing was changed)' : ''}`,
          ...done.applied.map((name) => `  ${name}`),
          ...(done.rebuilt === undefined ? [] : [`  lists of ${done.rebuilt} runs written anew`]),
        ].join('\n'),
  )
  return exit.ok
}
