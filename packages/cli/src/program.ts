import { Command, InvalidArgumentError, Option } from 'commander'
import { version } from './version.ts'
import * as approvals from './commands/approvals.ts'
import { type ExportOptions, type VerifyOptions } from './audit-files.ts'
import { auditActs, auditExport, auditVerify, type ActsOptions } from './commands/audit.ts'
import { doctorCommand } from './commands/doctor.ts'
import { forkCommand, type ForkFlags } from './commands/fork.ts'
import {
  runsCommand,
  showCommand,
  watchCommand,
  whyCommand,
  type RunsOptions,
  type ShowOptions,
  type WhyOptions,
} from './commands/read.ts'
import { mcpAccept, mcpLs, type McpAcceptOptions, type McpLsOptions } from './commands/mcp.ts'
import { policyTest, type PolicyTestOptions } from './commands/policy.ts'
import { migrateCommand, type MigrateFlags } from './commands/migrate.ts'
import { resumeCommand, type ResumeOptions } from './commands/resume.ts'
import { runCommand, type RunOptions } from './commands/run.ts'
import { stopCommand, type StopOptions } from './commands/stop.ts'
import { storeArchive, storeRestore, type ArchiveFlags } from './commands/archive.ts'
import { storeCopy } from './commands/store.ts'
import { workerCommand } from './commands/worker.ts'
import type { Common, Context } from './context.ts'

/** Makes the context of one command from its options. */
export type MakeContext = (common: Common) => Context

/** The commands and their options. `done` is told the exit code of the one that ran. */
export function buildProgram(makeContext: MakeContext, done: (code: number) => void): Command {
  const program = new Command('convoke')
    .description('Runs teams of AI agents that survive crashes and can explain every decision.')
    .version(version, '-V, --version')
    .helpCommand(false)
    .showHelpAfterError(false)
    .addHelpText(
      'after',
      `
Data goes to stdout, everything else to stderr; -o json or jsonl on every command.
Exit: 0 ok, 1 failed, 2 usage, 3 waiting for a person, 4 not allowed, 5 unreachable, 6 over budget, 130 interrupted.`,
    )

  /** Every command takes the same options for where and how. */
  const common = (command: Command): Command =>
    command
      .addOption(new Option('--store <where>', 'folder, or postgres://…; .convoke here unless said (CONVOKE_STORE)'))
      .addOption(new Option('--tenant <name>', "whose runs; 'local' unless said (CONVOKE_TENANT)"))
      .addOption(new Option('--app <file>', 'configuration; the nearest convoke.config.ts upward unless said'))
      .addOption(new Option('-o, --output <format>', 'how data is written').choices(['text', 'json', 'jsonl']))

  /** What drives runs also says what hands them out. */
  const driving = (command: Command): Command =>
    common(command).addOption(
      new Option('--engine <which>', 'local, postgres, or restate://host:port; local unless said (CONVOKE_ENGINE)'),
    )

  const act =
    <A extends readonly unknown[]>(work: (context: Context, ...args: A) => Promise<number>) =>
    async (...given: unknown[]): Promise<void> => {
      // Commander passes arguments, then options, then the command itself.
      const args = given.slice(0, -1)
      done(await work(makeContext(args.at(-1) as Common), ...(args as unknown as A)))
    }

  driving(program.command('run <workflow>').description('start a run and drive it until it is done or waits'))
    .option('--input <json>', 'its input: JSON, @FILE, or - for stdin')
    .option('--id <id>', 'its id; the same id with the same input finds the run that is there')
    .option('--tag <tag>', 'a tag; may be repeated', collect)
    .option('--wait', 'stay through approvals and timers, until it has ended')
    .action(act((c, workflow: string, o: RunOptions) => runCommand(c, workflow, o)))

  driving(program.command('resume [run...]').description('drive what is unfinished until done or parked'))
    .option('--wait', 'stay through approvals and timers, until all have ended')
    .action(act((c, runs: readonly string[], o: ResumeOptions) => resumeCommand(c, runs, o)))

  driving(program.command('worker').description('drive whatever becomes ready, until SIGTERM or Ctrl-C')).action(
    act((c) => workerCommand(c)),
  )

  common(program.command('runs').description('list runs, newest first'))
    .option('--status <status>', 'only these: queued, running, parked, stopped, done, failed, cancelled', collect)
    .option('--workflow <name>', 'only of this workflow')
    .option('--tag <tag>', 'only with this tag')
    .option('--limit <n>', 'how many', positive, 20)
    .action(act((c, o: RunsOptions) => runsCommand(c, o)))

  common(program.command('show <run>').description('a run as it stands: steps, times, tokens, what it waits for'))
    .option('--all', 'also what asks do inside: models, tools, other asks')
    .action(act((c, run: string, o: ShowOptions) => showCommand(c, run, o)))

  common(program.command('watch <run>').description('follow a run as it goes on')).action(
    act((c, run: string) => watchCommand(c, run)),
  )

  common(program.command('why <run> [target]').description('why a run, or a step or record of it, came out as it did'))
    .option('--control', 'also follow what a step merely came after')
    .action(act((c, run: string, target: string | undefined, o: WhyOptions) => whyCommand(c, run, target, o)))

  common(program.command('fork <run>').description('make a run that shares another up to a point'))
    .requiredOption('--at <point>', 'a step path, a checkpoint, or the seq of a record')
    .option('--set <STEP:/pointer=JSON>', 'put another value in what a step gave; may be repeated', collect)
    .option('--use <role=version>', 'which agent version fills a role from here on; may be repeated', collect)
    .addOption(
      new Option('--reuse <what>', 'keep what is before the point, or also what nothing changed for')
        .choices(['before', 'unchanged'])
        .default('before'),
    )
    .addOption(
      new Option('--effects <how>', 'what the original already did: held for a person, simulated, or done again')
        .choices(['hold', 'dry', 'live'])
        .default('hold'),
    )
    .option('--id <id>', 'id of the fork')
    .option('--by <name>', 'who asks; your user name unless said')
    .action(act((c, run: string, o: ForkFlags) => forkCommand(c, run, o)))

  const people = program.command('approvals').description('what waits for a person').helpCommand(false)
  const decider = (command: Command): Command =>
    common(command).option('--by <name>', 'who decides; your user name unless said').option('--reason <text>', 'why')
  common(people.command('ls').description('list what waits'))
    .option('--run <run>', 'only of this run')
    .option('--all', 'also what was decided')
    .action(act((c, o: approvals.LsOptions) => approvals.approvalsLs(c, o)))
  common(people.command('show <id>').description('exactly what would be done')).action(
    act((c, id: string) => approvals.approvalsShow(c, id)),
  )
  decider(people.command('approve <id>').description('let it be done, or answer the question'))
    .option('--value <json>', 'the answer to a question, or what a call gave whose outcome was unknown')
    .option('--repeat', 'for an unknown outcome: it did not happen, do it again')
    .action(act((c, id: string, o: approvals.ApproveOptions) => approvals.approvalsApprove(c, id, o)))
  decider(people.command('reject <id>').description('it is not done')).action(
    act((c, id: string, o: approvals.Decider) => approvals.approvalsReject(c, id, o)),
  )
  decider(people.command('correct <id>').description('do something else instead; shows the difference first'))
    .requiredOption('--set </pointer=JSON>', "change the action's input; may be repeated", collect)
    .option('--business-key <key>', 'another business key')
    .option('--yes', 'do not ask back')
    .action(act((c, id: string, o: approvals.CorrectOptions) => approvals.approvalsCorrect(c, id, o)))
  decider(people.command('escalate <id>').description('ask somebody else'))
    .option('--to <group>', 'whom; the next of the chain unless said')
    .action(act((c, id: string, o: approvals.EscalateOptions) => approvals.approvalsEscalate(c, id, o)))

  common(program.command('stop').argument('[run]').description('stop a run, a role or everything, in every process'))
    .option('--role <name>', 'everything that a role does')
    .option('--all', 'everything')
    .option('--reason <text>', 'why')
    .option('--by <name>', 'who says so; the user of this machine unless said')
    .option('--list', 'show what is stopped')
    .option('--lift <id>', 'let go on what an order had stopped')
    .action(act((c, run: string | undefined, o: StopOptions) => stopCommand(c, run, o)))

  const rules = program.command('policy').description('what calls are allowed').helpCommand(false)
  common(rules.command('test').description('say what would become of calls that nobody makes, and why'))
    .option('--cases <file>', 'a JSON list of calls, with what is expected of each')
    .option('--tool <name>', 'one call instead')
    .option('--input <json>', 'its arguments')
    .option('--role <name>', 'who makes it')
    .option('--ask-models', 'let guardrails ask their models, which costs what it costs')
    .action(act((c, o: PolicyTestOptions) => policyTest(c, o)))

  const servers = program.command('mcp').description('what MCP servers offer').helpCommand(false)
  common(
    servers.command('ls').argument('[server]').argument('[tool]').description('list tools: accepted, or in quarantine'),
  )
    .option('--difference', 'show what would be accepted of new tools, too')
    .action(
      act((c, server: string | undefined, tool: string | undefined, o: McpLsOptions) => mcpLs(c, server, tool, o)),
    )
  common(servers.command('accept <server> <tool>').description('make a tool of what was shown'))
    .option('--hash <hash>', 'of what was shown; asked back at a terminal unless said')
    .option('--by <name>', 'who accepts; your user name unless said')
    .action(act((c, server: string, tool: string, o: McpAcceptOptions) => mcpAccept(c, server, tool, o)))

  const audit = program.command('audit').description('show that nothing was changed').helpCommand(false)
  common(
    audit.command('verify [file]').description('prove every record of the store, or an exported run without any store'),
  )
    .option('--against <file>', 'a checkpoint that audit export wrote')
    .option('--public-key <key>', 'the key that must have signed: itself, or a file')
    .action(act((c, file: string | undefined, o: VerifyOptions) => auditVerify(c, file, o)))
  common(
    audit
      .command('export [run]')
      .description(
        'one run with all that an auditor asks for and its proof; without one, sign where all streams stand',
      ),
  )
    .option('--key <file>', 'Ed25519 key in PEM; audit.key in the store unless said, made at first use')
    .option('--out <file>', 'write it there; stdout unless said')
    .option('--max-blob <bytes>', 'leave out larger files of a run; 1048576 unless said', positive)
    .action(act((c, run: string | undefined, o: ExportOptions) => auditExport(c, run, o)))

  common(
    audit
      .command('acts')
      .description('what was decided about everything: orders to stop, tools that were accepted, trust, and by whom'),
  )
    .option('--all', 'also each approval that counts towards trust')
    .action(act((c, o: ActsOptions) => auditActs(c, o)))

  common(program.command('migrate').description("bring a database's schema to this version"))
    .option('--dry-run', 'say what would be done')
    .option('--rebuild', 'write the lists of runs and approvals anew from the records, while workers go on')
    .action(act((c, o: MigrateFlags) => migrateCommand(c, o)))

  const store = program.command('store').description('where everything is kept').helpCommand(false)
  store
    .command('copy <from> <to>')
    .description('copy a store into an empty one, a folder or postgres://…; chains and checkpoints hold in the copy')
    .addOption(new Option('--tenant <name>', 'only this one; all unless said'))
    .addOption(new Option('-o, --output <format>', 'how data is written').choices(['text', 'json', 'jsonl']))
    .action(act((c, from: string, to: string) => storeCopy(c, from, to)))
  common(store.command('archive').description('take ended runs out of the store, into files'))
    .requiredOption('--older-than <age>', 'ended at least so long ago: 90d, 12h, 30m')
    .requiredOption('--to <dir>', 'folder for the files; made when missing')
    .option('--dry-run', 'say which runs would go, and change nothing')
    .action(act((c, o: ArchiveFlags) => storeArchive(c, o)))
  common(store.command('restore <file>').description('bring the runs of an archive back into the store')).action(
    act((c, file: string) => storeRestore(c, file)),
  )

  driving(program.command('doctor').description('look at everything a run needs')).action(act((c) => doctorCommand(c)))
  return program
}

function collect(value: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), value]
}

function positive(text: string): number {
  const n = Number(text)
  if (!Number.isSafeInteger(n) || n < 1) throw new InvalidArgumentError('expected a whole number from 1 up')
  return n
}
