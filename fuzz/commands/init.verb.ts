// init.verb.ts - the options of `kvproof init`; init.ts does it.

import type { DefineVerb } from './verb.js';

export const initVerb: DefineVerb = (program, { settle }) => {
  program
    .command('init [folder]')
    .description('write a kernel that runs, to put your own into, and a first case')
    .option(
      '--kind <kind>',
      'python, pytorch, triton (processes), cpp or cuda (shared libraries)',
      'python',
    )
    .option('--name <name>', 'of the kernel, for reports', 'my kernel')
    .action(async (folder: string | undefined, flags) => {
      const { init } = await import('./init.js');
      settle(init(folder ?? '.', flags));
    });
};
