import { copyStore, openStoreAt, systemIds, type Ledger } from 'convoke'
import { openSqliteLedger } from 'convoke/sqlite'
import { clock, openLedgerAt, placeOf, shownPlace, type Context } from '../context.ts'
import { exit } from '../exit.ts'

/** `convoke store copy`: the target is made when it is missing, the source must be there. */
export async function storeCopy(context: Context, fromText: string, toText: string): Promise<number> {
  const { out, common, cwd } = context
  const fromPlace = placeOf(fromText, cwd)
  const toPlace = placeOf(toText, cwd)
  const { tenant } = common
  const from = await openLedgerAt(fromPlace)
  try {
    const held = (await from.transfer?.held(tenant)) ?? 0
    if (held > 0)
      out.note(
        `warning: live workers hold ${held} ${held === 1 ? 'run' : 'runs'} of ${shownPlace(fromPlace)}; what they do from now on is not copied, and the copy would do it again. Stop them and copy into another store.`,
      )
    const to = await openTarget(toPlace)
    try {
      const count = await copyStore(from, to, {
        ...(tenant === undefined ? {} : { tenant }),
        onProgress: ({ tenant: which, records, blobs }) => {
          if (out.interactive) out.note(`${which}: ${records} records, ${blobs} blobs`)
        },
      })
      out.data({ from: shownPlace(fromPlace), to: shownPlace(toPlace), held, ...count }, () =>
        [
          `${shownPlace(fromPlace)} → ${shownPlace(toPlace)}`,
          `  ${count.records} records${count.found > 0 ? ` (${count.found} more stood there already)` : ''}, ` +
            `${count.blobs} blobs, ${count.rows} keys and places, of ${count.tenants} ${count.tenants === 1 ? 'tenant' : 'tenants'}`,
        ].join('\n'),
      )
    } finally {
      await to.close()
    }
  } finally {
    await from.close()
  }
  return exit.ok
}

async function openTarget(place: ReturnType<typeof placeOf>): Promise<Ledger> {
  return place.kind === 'address'
    ? await openStoreAt(place.address, { clock, ids: systemIds() })
    : await openSqliteLedger({ dir: place.dir })
}
