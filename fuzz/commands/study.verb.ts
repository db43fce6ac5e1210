// study.verb.ts - the options of `kvproof study ...`; study-*.ts do it.

import type { Command } from 'commander';
import type { DefineVerb } from './verb.js';

const KERNEL = 'ref:, sim:sm_80, sim:sm_89, sim:sm_90, cuda:N, lib:PATH or mutant:ID';

function withStudyOptions(command: Command, name: string): Command {
  return command
    .option('--kernel <uri>', KERNEL, 'ref:')
    .option('--quick', 'a part of the study that takes under three minutes on two cores', false)
    .option('--seed <seed>', 'a number or a git hash (default: the current commit)')
    .option('--workers <n>', 'processes (default: one for each core)')
    .option('--out <dir>', 'where values, tables and figures are stored', `.kvproof/study-${name}`)
    .option('--resume', 'go on from the values in --out', false)
    .option('--deadline <time>', 'for one task; a kernel that takes longer is ended', '30m')
    .option('--json <file>', `write the result as kvproof.study.${name}/1`);
}

export const studyVerb: DefineVerb = (program, { settle, version }) => {
  const study = program.command('study').description('accuracy against bit width');
  withStudyOptions(study.command('perplexity'), 'perplexity')
    .description('perplexity of a trained model whose KV cache has few bits')
    .option('--axes <list>', 'axes of K: channel,token')
    .option('--groups <list>', 'elements that share a scale: 128,64,32')
    .option('--bits <list>', 'widths of K and V, such as 8/8,4/2')
    .option('--windows <n>', 'windows of 512 scored tokens (default 8, with --quick 2)')
    .option('--model <dir>', 'folder with the weights (default: corpus/code-lm)')
    .action(async (flags) => {
      const { studyPerplexity } = await import('./study-perplexity.js');
      settle(await studyPerplexity(flags, version));
    });
};
