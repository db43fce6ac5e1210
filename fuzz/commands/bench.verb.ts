// bench.verb.ts - the options of `kvproof bench ...`: one sub-command for each thing that is timed.

import type { DefineVerb } from './verb.js';

export const benchVerb: DefineVerb = (program, { settle }) => {
  const bench = program.command('bench').description('how fast the toolkit and the kernels are');
  bench
    .command('harness')
    .description("the toolkit's own speed: emulator, checked emulator, reference, GPU")
    .option('--json <file>', 'write the result as kvproof.bench-harness/1')
    .action(async (flags) => {
      const { benchHarness } = await import('./bench-harness.js');
      settle(await benchHarness(flags));
    });
  bench
    .command('kernel')
    .description('decode, quantize and append of a kernel on a GPU against the limit of its memory')
    .option('--kernel <uri>', 'cuda:N, or lib:PATH of a CUDA kernel', 'cuda:0')
    .option('--runs <n>', 'of each row', '50')
    .option('--seed <n>', 'of the inputs', '1')
    .option('--json <file>', 'write the result as kvproof.bench-kernel/1')
    .action(async (flags) => {
      const { benchKernel } = await import('./bench-kernel.js');
      settle(await benchKernel(flags));
    });
  bench
    .command('decode-step')
    .description('one decode step of a model of the shape of LLaMA-3.1-8B on a GPU')
    .option('--kernel <uri>', 'cuda:N, or lib:PATH of a CUDA kernel', 'cuda:0')
    .option('--runs <n>', 'of each row', '20')
    .option('--seed <n>', 'of inputs and weights', '1')
    .option('--json <file>', 'write the result as kvproof.bench-decode-step/1')
    .action(async (flags) => {
      const { benchDecodeStep } = await import('./bench-decode-step.js');
      settle(await benchDecodeStep(flags));
    });
};
