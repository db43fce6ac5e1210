// verify.verb.ts - the options of `kvproof verify`; verify.ts does it.

import { type DefineVerb, withRunOptions } from './verb.js';

export const verifyVerb: DefineVerb = (program, { settle, version }) => {
  withRunOptions(program.command('verify'))
    .description('run stored, real and generated cases; exit code 1 if a property fails')
    .option('--time <time>', 'plan cases for this long, and stop then (default 60s)')
    .option('--runs <n>', 'generate this many cases, whatever they take')
    .option('--climb <n>', 'then so many towards the bound and into cells not reached')
    .option('--seed <seed>', 'a number or a git hash (default: the current commit)')
    .option('--workers <n>', 'processes (default: one for each core)')
    .option('--baseline <dir>', 'findings that are known: red only for new ones')
    .option('--findings <dir>', 'where findings are read and stored', 'corpus/findings')
    .option('--shrink-time <time>', 'for one finding', '30s')
    .option('--json <file>', 'write the result as kvproof.verify/1')
    .option('--junit <file>', 'write the result as JUnit XML')
    .option('--sarif <file>', 'write the findings as SARIF 2.1.0')
    .action(async (flags) => {
      const { verify } = await import('./verify.js');
      settle(await verify(flags, version));
    });
};
