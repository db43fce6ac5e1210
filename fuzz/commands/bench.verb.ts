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
};
