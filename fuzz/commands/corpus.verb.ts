// corpus.verb.ts - the options of `kvproof corpus minimise` and `prune`; corpus.ts does them.

import { collected, type DefineVerb } from './verb.js';

export const corpusVerb: DefineVerb = (program, { settle }) => {
  const verb = program
    .command('corpus')
    .description('a corpus that has grown: the files that can go, and their removal');
  verb
    .command('minimise <dir>')
    .description('the fewest cases with every coverage cell and signature that all of them have')
    .option('--write', 'remove the others, instead of listing them', false)
    .option('--json', 'the list as JSON (kvproof.corpus/1)', false)
    .action(async (folder, flags) => {
      const { corpus } = await import('./corpus.js');
      settle(await corpus('minimise', folder, { kernel: [], workdir: '', ...flags }));
    });
  verb
    .command('prune <dir>')
    .description('files that repeat another one, and cases that no kernel named supports')
    .option('--kernel <uri>', 'may be repeated', collected, [])
    .option('--write', 'remove them, instead of listing them', false)
    .option('--workdir <dir>', 'where a worker may write', '.kvproof')
    .option('--json', 'the list as JSON (kvproof.corpus/1)', false)
    .action(async (folder, flags) => {
      const { corpus } = await import('./corpus.js');
      settle(await corpus('prune', folder, flags));
    });
};
