// status.verb.ts - the options of `kvproof status`; status.ts does it.

import type { DefineVerb } from './verb.js';

export const statusVerb: DefineVerb = (program, { settle }) => {
  program
    .command('status <dir>')
    .description('where a campaign stands: cases/s, coverage, last find, residual risk, findings')
    .option('--unreached <n>', 'name so many coverage cells that no case has reached')
    .option('--json', 'as JSON (kvproof.status/1)', false)
    .action(async (dir, flags) => {
      const { status } = await import('./status.js');
      settle(await status(dir, flags));
    });
};
