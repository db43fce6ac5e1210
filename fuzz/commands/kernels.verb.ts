// kernels.verb.ts - the options of `kvproof kernels`; kernels.ts does it.

import type { DefineVerb } from './verb.js';

export const kernelsVerb: DefineVerb = (program, { settle }) => {
  program
    .command('kernels')
    .description('what can be opened, and what it supports')
    .option('--json', 'as JSON', false)
    .action(async (flags) => {
      const { kernels } = await import('./kernels.js');
      settle(await kernels(flags));
    });
};
