// study.verb.ts - the options of `kvproof study ...`; study-*.ts do it.

import type { Command } from 'commander';
import type { DefineVerb, VerbContext } from './verb.js';

const KERNEL = 'ref:, sim:sm_80, sim:sm_89, sim:sm_90, cuda:N, lib:PATH or mutant:ID';

function withStudyOptions(command: Command, name: string): Command {
  return command
    .option('--quick', 'a part of the study that takes under three minutes on two cores', false)
    .option('--seed <seed>', 'a number or a git hash (default: the current commit)')
    .option('--workers <n>', 'processes (default: one for each core)')
    .option('--out <dir>', 'where values, tables and figures are stored', `.kvproof/study-${name}`)
    .option('--resume', 'go on from the values in --out', false)
    .option('--deadline <time>', 'for one task; a kernel that takes longer is ended', '30m')
    .option('--json <file>', `write the result as kvproof.study.${name}/1`);
}

export const studyVerb: DefineVerb = (program, context) => {
  const study = program
    .command('study')
    .description('accuracy against bit width, and what the error bounds see');
  accuracyVerb(study, context);
  perplexityVerb(study, context);
  withStudyOptions(study.command('allocation'), 'allocation')
    .description('the best use of a budget of bits for K and V, with and without outlier handling')
    .action(async (flags) => {
      const { studyAllocation } = await import('./study-allocation.js');
      context.settle(await studyAllocation(flags, context.version));
    });
  withStudyOptions(study.command('bounds'), 'bounds')
    .description('what the proven error bounds see, and how close a right kernel comes to them')
    .option('--kernel <uri>', KERNEL, 'sim:sm_90')
    .option('--rows <n>', 'output rows of a case, in multiples of 64 (default 64)')
    .action(async (flags) => {
      const { studyBounds } = await import('./study-bounds.js');
      context.settle(await studyBounds(flags, context.version));
    });
  study
    .command('figures <dir>')
    .description('draw figures and page again from what a study stored in its --out')
    .action(async (dir) => {
      const { studyFigures } = await import('./study-figures.js');
      context.settle(await studyFigures(dir));
    });
};

function accuracyVerb(study: Command, { settle, version }: VerbContext): void {
  withStudyOptions(study.command('accuracy'), 'accuracy')
    .description('error of attention over a cache of few bits, and where it comes from')
    .option('--kernel <uri>', KERNEL, 'ref:')
    .option(
      '--sections <list>',
      'bits,distributions,rules,kept,lengths,formats,kernel (default: all)',
    )
    .option('--seeds <n>', 'repeats of every distribution (default 5, with --quick 2)')
    .option('--k <file>', 'your own keys: FILE.npy or FILE.safetensors[:NAME]')
    .option('--v <file>', 'your own values, shaped as --k: (heads, tokens, head size)')
    .option('--q <file>', 'your own queries: (query heads, queries, head size)')
    .option('--scale <x>', 'softmax scale for your tensors (default 1/sqrt(head size))')
    .action(async (flags) => {
      const { studyAccuracy } = await import('./study-accuracy.js');
      settle(await studyAccuracy(flags, version));
    });
}

function perplexityVerb(study: Command, { settle, version }: VerbContext): void {
  withStudyOptions(study.command('perplexity'), 'perplexity')
    .description('perplexity of a trained model whose KV cache has few bits')
    .option('--kernel <uri>', KERNEL, 'ref:')
    .option('--axes <list>', 'axes of K: channel,token')
    .option('--groups <list>', 'elements that share a scale: 128,64,32')
    .option('--bits <list>', 'widths of K and V, such as 8/8,4/2')
    .option('--windows <n>', 'windows of scored tokens (default 8, with --quick 2)')
    .option('--scored <n>', 'scored tokens of a window: fewer for a slow kernel (default: 512)')
    .option(
      '--free',
      "a kernel's cache holds the K and V of its own pass, not the reference's",
      false,
    )
    .option('--model <dir>', 'folder with the weights (default: corpus/code-lm)')
    .action(async (flags) => {
      const { studyPerplexity } = await import('./study-perplexity.js');
      settle(await studyPerplexity(flags, version));
    });
}
