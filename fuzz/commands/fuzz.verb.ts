// fuzz.verb.ts - the options of `kvproof fuzz`; fuzz.ts does it.

import { collected, type DefineVerb, deadlineOption } from './verb.js';

export const fuzzVerb: DefineVerb = (program, { settle }) => {
  program
    .command('fuzz')
    .description('a campaign: cases without end, journals that survive a kill, shards, resume')
    .option('--kernel <uri>', 'may be repeated; cuda:* is every GPU (default)', collected, [])
    .option('--checked', 'emulated kernels: check every load and store', false)
    .option('--twin <uri>', 'another kernel that has to give the same bits')
    .option('--property <name>', 'only this property; may be repeated', collected, [])
    .option('--time <time>', 'stop after this long, e.g. 90s, 8h, 14d (default: --runs, or 60s)')
    .option('--runs <n>', 'generate this many cases for each kernel, over all shards')
    .option('--seed <seed>', 'a number or a git hash (default: the current commit)')
    .option('--workers <n>', 'processes for emulated kernels (default: one for each core)')
    .option('--shard <i/n>', 'every n-th case, from the i-th on', '1/1')
    .option('--workdir <dir>', 'journals and findings of this campaign or shard', '.kvproof/fuzz')
    .option('--resume', 'go on with the campaign that the folder holds, or begin it', false)
    .option('--corpus <dir>', 'stored cases that come first', 'corpus/findings')
    .option('--no-corpus', 'generated cases only')
    .option('--ledger <file>', 'failures that are known, each with a link and an expiry')
    .option('--baseline <dir>', 'findings that are known: red only for new ones')
    .option('--processes <mode>', 'long: as long as they live; fresh: one a batch; both', 'both')
    .option('--batch <n>', 'cases of a fresh process', '128')
    .option('--full-one-in <n>', 'judge one case in n by all, the others natively in batches', '1')
    .option('--pairs <n>', 'of a token and a query head, of a generated case at most', '8192')
    .addOption(deadlineOption('60s'))
    .option('--shrink-time <time>', 'for one finding', '30s')
    .option('--memory <size>', 'of one worker and all it starts, e.g. 4g (default: its share)')
    .option('--queue <url>', 'shards come from this Redis (redis://HOST:PORT); needs --runs')
    .option('--shards <n>', 'with --queue: parts of the campaign', '16')
    .option('--lease <time>', 'with --queue: a machine that is silent so long is lost', '30s')
    .option('--json [file]', 'lines of JSON, to the standard output or to a file')
    .action(async (flags) => {
      const { fuzz } = await import('./fuzz.js');
      settle(await fuzz(flags));
    });
};
