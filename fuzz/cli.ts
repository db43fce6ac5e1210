#!/usr/bin/env node
// cli.ts - arguments to command to exit code; nothing else. A command's code is loaded when it is
// called for (commands/verbs.ts). Every error is one sentence on the error output; a stack is shown
// with --debug only.

import './node-version.js'; // first
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command, CommanderError } from 'commander';
import { packageRoot } from './campaign/package-root.js';
import { UsageError } from './commands/arguments.js';
import { verbs } from './commands/verbs.js';
import { tell } from './report/writer.js';

const EXIT_USAGE = 2;
const EXIT_TOOL = 3;

function versionOf(): string {
  const text = readFileSync(join(packageRoot(), 'package.json'), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

function programOf(settle: (code: number) => void): Command {
  const version = versionOf();
  const program = new Command('kvproof')
    .description('Verifies and fuzzes GPU attention kernels that read a low-bit KV cache.')
    .version(version)
    .option('--debug', 'show the stack of an error')
    .exitOverride()
    .configureOutput({ outputError: () => {} });

  for (const define of verbs) define(program, { settle, version });
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
