// bench kernel - kernels against the limit of the memory and the fp16 cache, as a table and, with
// --json, as kvproof.bench-kernel/1.

import { runKernelBench } from '../bench/kernel-bench.js';
import { type BenchFlags, runBench } from './bench-run.js';

export function benchKernel(flags: BenchFlags): Promise<number> {
  return runBench(
    {
      name: 'kernel',
      measure: runKernelBench,
      fields: ({ ceilings, rows }) => ({ ...ceilings, rows }),
    },
    flags,
  );
}
