import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import {
  ConvokeError,
  dryRun,
  parseStrict,
  type ConvokeOptions,
  type House,
  type Json,
  type PolicyAnswer,
  type PolicyCase,
} from 'convoke'
import { closeConfig, loadConfig } from '../config.ts'
import { clock, type Context } from '../context.ts'
import { exit } from '../exit.ts'

/** `convoke policy test`: what would become of calls that nobody makes, and why; fails where a case expects otherwise. */
export interface PolicyTestOptions {
  readonly cases?: string
  readonly tool?: string
  readonly input?: string
  readonly role?: string
  readonly askModels?: boolean
}

export async function policyTest(context: Context, options: PolicyTestOptions): Promise<number> {
  const config = await loadConfig(context.cwd, context.common.app)
  try {
    return await answer(context, options, config.options)
  } finally {
    await closeConfig(config)
  }
}

async function answer(context: Context, options: PolicyTestOptions, app: ConvokeOptions): Promise<number> {
  const { out } = context
  const house: House = {
    policy: app.policy,
    guardrails: app.guardrails,
    tools: app.tools ?? [],
    roles: (app.agents ?? []).map((agent) => agent.role),
    environment: app.environment,
  }
  const answers: PolicyAnswer[] = []
  for (const its of casesOf(context, options))
    answers.push(await dryRun(house, its, options.askModels === true ? { askModels: { clock } } : {}))
  const wrong = answers.filter((answer) => !answer.ok)
  out.data({ answers: answers as unknown as Json, failed: wrong.length }, () =>
    answers.map((a) => shown(a, context)).join('\n'),
  )
  if (wrong.length === 0) return exit.ok
  out.note(`${wrong.length} of ${answers.length} came out otherwise than expected`)
  return exit.failed
}

function casesOf(context: Context, { cases, tool, input, role }: PolicyTestOptions): readonly PolicyCase[] {
  if (cases !== undefined) {
    const file = resolve(context.cwd, cases)
    const list = parseStrict(read(file))
    if (Array.isArray(list) && list.every((one) => typeof one?.['tool'] === 'string'))
      return list as unknown as PolicyCase[]
    throw new ConvokeError('INPUT_INVALID', `${file} is no list of cases`, {
      details: { file },
      next: 'write [{ "tool": "mail.send", "input": {…}, "expect": "hold" }]',
    })
  }
  if (tool === undefined)
    throw new ConvokeError('USAGE', 'name a file of cases or a tool', { next: 'convoke policy test --cases FILE' })
  return [{ tool, input: input === undefined ? {} : parseStrict(input), ...(role === undefined ? {} : { role }) }]
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw new ConvokeError('INPUT_INVALID', `the cases in ${file} cannot be read: ${(error as Error).message}`, {
      details: { file },
      next: 'name a file that is there',
      cause: error,
    })
  }
}

function shown(answer: PolicyAnswer, { out: { style } }: Context): string {
  const mark = answer.ok ? style.good(answer.outcome.padEnd(6)) : style.bad(answer.outcome.padEnd(6))
  const expected = answer.ok ? '' : `  (expected ${answer.expected ?? ''})`
  return [
    `${mark} ${answer.name}${expected}`,
    ...answer.why.map((w) => `         ${w}`),
    ...answer.asks.map((a) => `         ${a}`),
  ].join('\n')
}
