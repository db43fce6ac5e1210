// verb.ts - what the definitions of verbs (NAME.verb.ts) share.
//
// A definition names a verb's options and loads its code (NAME.ts) only when it is called, so that
// `--help` stays quick. verbs.ts lists them all.

import { type Command, Option } from 'commander';

export interface VerbContext {
  /** Takes the exit code of a command that has ended. */
  readonly settle: (code: number) => void;
  readonly version: string;
}

/** Adds one verb to the command line. */
export type DefineVerb = (program: Command, context: VerbContext) => void;

/** For an option that may be repeated. */
export const collected = (value: string, before: string[]) => [...before, value];

/** How long a case may take unless it is said (campaign/case-deadline.ts). */
export function deadlineOption(most: string): Option {
  const what = 'for one case, a long one up to nine times; a kernel that takes longer is killed';
  return new Option('--deadline <time>', what).default(most);
}

const KERNEL = 'sim:sm_80, sim:sm_89, sim:sm_90, cuda:N, lib:PATH, exec:COMMAND, ref: or mutant:ID';

/** The options of every verb that runs cases on a kernel. */
export function withRunOptions(command: Command): Command {
  return command
    .option('--kernel <uri>', KERNEL)
    .option('--checked', 'emulated kernels: check every load and store', false)
    .option('--twin <uri>', 'another kernel that has to give the same bits')
    .option('--property <name>', 'only this property; may be repeated', collected, [])
    .option('--workdir <dir>', 'holds the case that each worker runs', '.kvproof')
    .addOption(deadlineOption('60s'));
}
