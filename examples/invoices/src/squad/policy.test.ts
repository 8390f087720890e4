import { readFile } from 'node:fs/promises'
import { expect, it } from 'vitest'
import { dryRun, parseStrict, type House, type PolicyCase } from 'convoke'
import { everything, type Protections } from './protections.ts'
import { scriptedSquadModel } from './rules/index.ts'
import { squadOptions } from './squad.ts'

const cases = parseStrict(
  await readFile(new URL('../../policy.cases.json', import.meta.url), 'utf8'),
) as unknown as readonly PolicyCase[]

async function house(protections: Protections = everything): Promise<House> {
  const { policy, tools, agents } = await squadOptions(
    {
      store: '',
      erpUrl: () => Promise.reject(new Error('nothing is called')),
      outbox: '',
      model: scriptedSquadModel(),
    },
    protections,
  )
  return { policy, tools: tools ?? [], roles: (agents ?? []).map((agent) => agent.role) }
}

/** Cases that come out otherwise than they say. */
async function wrongIn(its: House): Promise<string[]> {
  const answers = await Promise.all(cases.map((one) => dryRun(its, one)))
  return answers.flatMap((answer) => (answer.ok ? [] : [answer.name]))
}

it('every case of the policy comes out as it says', async () => {
  expect(cases.length).toBeGreaterThan(15)
  expect(cases.filter((one) => one.expect === undefined)).toEqual([])
  expect(await wrongIn(await house())).toEqual([])
})

it('no scope, label or rule of the policy could be left out unnoticed', async () => {
  expect(await wrongIn(await house({ ...everything, scopes: false }))).not.toEqual([])
  expect(await wrongIn(await house({ ...everything, labels: false }))).not.toEqual([])
  // Rules that stand behind scopes and labels are looked at without these.
  const bare = await house({ ...everything, scopes: false, labels: false })
  const { policy } = bare
  const before = await wrongIn(bare)
  for (const rule of policy?.rules ?? []) {
    const rest = { ...policy, version: 'without', rules: policy?.rules.filter((one) => one !== rule) ?? [] }
    const missed = (await wrongIn({ ...bare, policy: rest })).filter((name) => !before.includes(name))
    expect(missed, `without ${rule.id ?? ''}`).not.toEqual([])
  }
})
