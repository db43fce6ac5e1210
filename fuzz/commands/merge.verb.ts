// merge.verb.ts - the options of `kvproof merge`; merge.ts does it.

import type { DefineVerb } from './verb.js';

export const mergeVerb: DefineVerb = (program, { settle }) => {
  program
    .command('merge <dir...>')
    .description('join the shards of one campaign; exit code 1 if any of them found something')
    .option('--into <dir>', 'the folder that is made', '.kvproof/merged')
    .option('--json', 'the joined state as JSON (kvproof.merge/1)', false)
    .action(async (dirs, flags) => {
      const { merge } = await import('./merge.js');
      settle(await merge(dirs, flags));
    });
};
