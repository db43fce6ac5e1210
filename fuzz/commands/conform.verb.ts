// conform.verb.ts - the options of `kvproof conform`; conform.ts does it.

import { type DefineVerb, deadlineOption } from './verb.js';

export const conformVerb: DefineVerb = (program, { settle }) => {
  program
    .command('conform <uri>')
    .description('judge a kernel by the laws of the interface, one line a law')
    .option('--json <file>', 'write the result as kvproof.conform/1')
    .option('--checked', 'emulated kernels: check every load and store', false)
    .option('--workdir <dir>', 'holds the case that runs', '.kvproof')
    .addOption(deadlineOption('30s'))
    .action(async (uri, flags) => {
      const { conform } = await import('./conform.js');
      settle(await conform(uri, flags));
    });
};
