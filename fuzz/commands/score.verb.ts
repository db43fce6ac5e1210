// score.verb.ts - the options of `kvproof score`; score.ts does it.

import { collected, type DefineVerb, deadlineOption } from './verb.js';

export const scoreVerb: DefineVerb = (program, { settle }) => {
  program
    .command('score')
    .description('plant mutants, and report which are killed by what and how fast')
    .option('--kernel <uri>', 'the clean kernel: sim:sm_80, sim:sm_89 or sim:sm_90', 'sim:sm_90')
    .option('--mutants <glob...>', 'mutant files, from anywhere (default: native/mutants)')
    .option('--generate <n>', 'make this many systematic mutants by the seed, and score them')
    .option('--generated <dir>', 'where --generate writes them (default: below --workdir)')
    .option('--oracle <name>', "another project's rule, or all; may be repeated", collected, [])
    .option('--time <time>', 'for the cases of one mutant', '60s')
    .option('--shrink-time <time>', 'for one kill', '25s')
    .option('--build-time <time>', 'for one build of a mutant', '240s')
    .addOption(deadlineOption('60s'))
    .option('--checked <policy>', 'also on the checked build: auto, always (only), never', 'auto')
    .option('--seed <seed>', 'a number or a git hash (default: the current commit)')
    .option('--workers <n>', 'mutants at a time (default: one for each core)')
    .option('--workdir <dir>', 'a score that was cut off goes on from here', '.kvproof')
    .option('--json <file>', 'write the result as kvproof.score/1')
    .option('--markdown <file>', 'write the result as tables')
    .action(async (flags) => {
      const { score } = await import('./score.js');
      settle(await score(flags));
    });
};
