// reference.ts - ref: the reference as a Kernel.
//
// Quantises by the format's spec, attends in float64 over the dequantised cache and rounds once, to
// what a kernel stores (fp16 output, fp32 lse). It is the kernel that every property must accept: a
// complaint about it is a fault of the property. Slow, and with no device, memory or schedule of
// its own.

import type { Case } from '../../properties/case.js';
import type { Capabilities, Device, Inputs, Kernel, RunResult } from '../../properties/kernel.js';
import {
  attend,
  bitdecoding,
  f16FromF64,
  problemError,
  readCache,
  recordTokens,
  referenceCache,
  schemeError,
} from '../../reference/index.js';

const device: Device = { name: 'TypeScript reference', sm: 'float64', driver: 'none' };

const capabilities: Capabilities = {
  name: 'reference',
  formats: [
    {
      format: bitdecoding.format,
      kAxis: ['channel'],
      bits: bitdecoding.bits,
      groups: bitdecoding.groups,
      headSizes: bitdecoding.headSizes,
    },
  ],
  layout: 'record128',
  // A float64 score for every token and query head of a group: 1 GiB at this length and 64 heads.
  tokensMax: 1 << 21,
  headsPerKvMax: 4096,
  // Its operands are the exactly dequantised values and its sums are in float64, but the types only
  // know kernels; nothing declared means the widest bound, which the reference meets by far.
  arithmetic: null,
  tiles: [recordTokens],
  deterministic: true,
  batchInvariant: true,
  emulated: false,
  checked: false,
};

class ReferenceKernel implements Kernel {
  readonly uri = 'ref:';
  readonly device = device;
  readonly capabilities = capabilities;

  supports({ problem, scheme }: Case): string | null {
    const error = problemError(problem) ?? schemeError(scheme, problem);
    if (error !== null) return error;
    const longest = problem.tokens.findIndex((tokens) => tokens > capabilities.tokensMax);
    if (longest < 0) return null;
    const found = problem.tokens[longest];
    return `problem.tokens[${longest}]: ${found}, at most ${capabilities.tokensMax}`;
  }

  run(c: Case, inputs: Inputs): RunResult {
    const reason = this.supports(c);
    if (reason !== null) return { kind: 'unsupported', reason };
    const { problem, scheme, options } = c;
    const stored = referenceCache(problem, scheme, inputs.k, inputs.v);
    const heads = readCache(problem, scheme, stored.cache, stored.kResidual, stored.vResidual);
    const { output, lse } = attend(problem, options.softmaxScale, inputs.q, heads);
    return {
      kind: 'ran',
      ...stored,
      output: Uint16Array.from(output, f16FromF64),
      lse: Float32Array.from(lse),
      violations: [],
      reports: [],
      scheduleHash: '',
    };
  }

  close(): void {}
}

export function openReference(): Kernel {
  return new ReferenceKernel();
}
