// doctor.verb.ts - the options of `kvproof doctor`; doctor.ts does it.

import type { DefineVerb } from './verb.js';

export const doctorVerb: DefineVerb = (program, { settle }) => {
  program
    .command('doctor')
    .description('what this environment has, what it lacks, and what that is needed for')
    .option('--json', 'as JSON', false)
    .action(async (flags) => {
      const { doctor } = await import('./doctor.js');
      settle(await doctor(flags));
    });
};
