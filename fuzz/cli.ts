#!/usr/bin/env node
// cli.ts - arguments to command to exit code; nothing else. A command's code is loaded when it is
// called for. Every error is one sentence on the error output; a stack is shown with --debug only.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command, CommanderError } from 'commander';
import { packageRoot } from './campaign/package-root.js';
import { UsageError } from './commands/arguments.js';
import { tell } from './report/writer.js';

const EXIT_USAGE = 2;
const EXIT_TOOL = 3;

function versionOf(): string {
  const text = readFileSync(join(packageRoot(), 'package.json'), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

const collected = (value: string, before: string[]) => [...before, value];

const KERNEL = 'sim:sm_80, sim:sm_89, sim:sm_90, cuda:N, lib:PATH, ref: or mutant:ID';

function withRunOptions(command: Command): Command {
  return command
    .option('--kernel <uri>', KERNEL)
    .option('--checked', 'emulated kernels: check every load and store', false)
    .option('--twin <uri>', 'another kernel that has to give the same bits')
    .option('--property <name>', 'only this property; may be repeated', collected, [])
    .option('--workdir <dir>', 'holds the case that each worker runs', '.kvproof')
    .option('--deadline <time>', 'for one case; a kernel that takes longer is killed', '60s');
}

function programOf(settle: (code: number) => void): Command {
  const version = versionOf();
  const program = new Command('kvproof')
    .description('Verifies and fuzzes GPU attention kernels that read a low-bit KV cache.')
    .version(version)
    .option('--debug', 'show the stack of an error')
    .exitOverride()
    .configureOutput({ outputError: () => {} });

  withRunOptions(program.command('verify'))
    .description('run stored, real and generated cases; exit code 1 if a property fails')
    .option('--time <time>', 'plan cases for this long, and stop then (default 60s)')
    .option('--runs <n>', 'generate this many cases, whatever they take')
    .option('--seed <seed>', 'a number or a git hash (default: the current commit)')
    .option('--workers <n>', 'processes (default: one for each core)')
    .option('--baseline <dir>', 'findings that are known: red only for new ones')
    .option('--findings <dir>', 'where findings are read and stored', 'corpus/findings')
    .option('--shrink-time <time>', 'for one finding', '30s')
    .option('--json <file>', 'write the result as kvproof.verify/1')
    .option('--junit <file>', 'write the result as JUnit XML')
    .option('--sarif <file>', 'write the findings as SARIF 2.1.0')
    .action(async (flags) => {
      const { verify } = await import('./commands/verify.js');
      settle(await verify(flags, version));
    });
  withRunOptions(program.command('replay <case...>'))
    .description('run stored cases or findings again')
    .action(async (paths, flags) => {
      const { replay } = await import('./commands/replay.js');
      settle(await replay(paths, flags));
    });
  withRunOptions(program.command('shrink <case>'))
    .description('make a failing case smaller, with the same failure signature')
    .option('--time <time>', 'how long to try', '60s')
    .option('--workers <n>', 'processes (default: one for each core)')
    .option('--findings <dir>', 'where the result is stored', 'corpus/findings')
    .action(async (path, flags) => {
      const { shrink } = await import('./commands/shrink.js');
      settle(await shrink(path, flags));
    });
  program
    .command('kernels')
    .description('what can be opened, and what it supports')
    .option('--json', 'as JSON', false)
    .action(async (flags) => {
      const { kernels } = await import('./commands/kernels.js');
      settle(await kernels(flags));
    });
  program
    .command('doctor')
    .description('what this environment has, what it lacks, and what that is needed for')
    .option('--json', 'as JSON', false)
    .action(async (flags) => {
      const { doctor } = await import('./commands/doctor.js');
      settle(await doctor(flags));
    });
  return program;
}

async function main(argv: readonly string[]): Promise<number> {
  let code = EXIT_TOOL;
  try {
    const program = programOf((settled) => {
      code = settled;
    });
    await program.parseAsync([...argv]);
    return code;
  } catch (error) {
    if (error instanceof CommanderError) return afterParsing(error);
    if (error instanceof UsageError) {
      tell(`kvproof: ${error.message}`);
      return EXIT_USAGE;
    }
    const text = error instanceof Error ? error.message.split('\n')[0] : String(error);
    tell(`kvproof: an error of kvproof itself: ${text} (--debug shows where)`);
    if (argv.includes('--debug') && error instanceof Error) tell(error.stack ?? '');
    return EXIT_TOOL;
  }
}

/** Help and version end by an exception of commander too. */
function afterParsing(error: CommanderError): number {
  if (error.exitCode === 0) return 0;
  if (error.code === 'commander.help') return EXIT_USAGE; // no command: the help was printed
  const sentence = error.message.replace(/^error: /, '').replace(/\s*\n\s*/g, ' ');
  tell(`kvproof: ${sentence}`);
  return EXIT_USAGE;
}

// The code is set rather than exited with, so that everything written reaches a pipe.
process.exitCode = await main(process.argv);
