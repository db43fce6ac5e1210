// replay.verb.ts - the options of `kvproof replay`; replay.ts does it.

import { type DefineVerb, withRunOptions } from './verb.js';

export const replayVerb: DefineVerb = (program, { settle }) => {
  withRunOptions(program.command('replay <case...>'))
    .description('run stored cases or findings again')
    .action(async (paths, flags) => {
      const { replay } = await import('./replay.js');
      settle(await replay(paths, flags));
    });
};
