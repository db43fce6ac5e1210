// reference.ts - ref: the reference as a Kernel (properties/reference-kernel.ts), with what it can
// do beyond a kernel on a device.
//
// It declares no arithmetic: its operands are the exactly dequantised values and its sums are in
// float64, but the types only know kernels. That means the widest bound, which it meets by far.

import type { Case } from '../../properties/case.js';
import type { Inputs, Kernel, RunOptions, RunResult } from '../../properties/kernel.js';
import { ReferenceKernel } from '../../properties/reference-kernel.js';
import { recordTokens } from '../../reference/index.js';

/** A float64 score for every token and query head of a group: 1 GiB at this length, 64 heads. */
const TOKENS_MAX = 1 << 21;

export function openReference(): Kernel {
  const declared = { tokensMax: TOKENS_MAX, headsPerKvMax: 4096, tiles: [recordTokens] };
  const kernel = new ReferenceKernel(null, declared);
  const { uri, device, capabilities } = kernel;
  const supports = (c: Case) => kernel.supports(c);
  const run = (c: Case, inputs: Inputs, options: RunOptions): RunResult => {
    const reason = supports(c);
    return reason === null ? kernel.run(c, inputs, options) : { kind: 'unsupported', reason };
  };
  return { uri, device, capabilities, supports, run, close() {} };
}
