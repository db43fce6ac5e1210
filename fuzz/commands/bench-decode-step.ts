// bench decode-step - one step of a model of the shape of LLaMA-3.1-8B against what the limit of
// the memory allows, as a table and, with --json, as kvproof.bench-decode-step/1.

import { MODEL, runStepBench } from '../bench/step-bench.js';
import { type BenchFlags, runBench } from './bench-run.js';

export function benchDecodeStep(flags: BenchFlags): Promise<number> {
  return runBench(
    {
      name: 'decode-step',
      measure: runStepBench,
      fields: ({ readGBs, rows }) => ({ model: MODEL, readGBs, rows }),
    },
    flags,
  );
}
