// shrink.verb.ts - the options of `kvproof shrink`; shrink.ts does it.

import { type DefineVerb, withRunOptions } from './verb.js';

export const shrinkVerb: DefineVerb = (program, { settle }) => {
  withRunOptions(program.command('shrink <case>'))
    .description('make a failing case smaller, with the same failure signature')
    .option('--time <time>', 'how long to try', '60s')
    .option('--workers <n>', 'processes (default: one for each core)')
    .option('--findings <dir>', 'where the result is stored', 'corpus/findings')
    .action(async (path, flags) => {
      const { shrink } = await import('./shrink.js');
      settle(await shrink(path, flags));
    });
};
