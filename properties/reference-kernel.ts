// The reference as a Kernel: quantise by reference/quantize.ts, attend in float64 over that cache,
// round the result to fp16 once. The most accurate kernel that there can be, so every property
// passes on it at every shape, and a property that does not is wrong itself.
//
// It says "folded" arithmetic with the widest accumulators, the tightest bound that the reference
// has, unless told otherwise. Memory behaves as a device's: outputs and the unused rows of the
// residual windows hold the poison until they are written.

import type { Arithmetic } from '../reference/arithmetic.js';
import { attend } from '../reference/attention.js';
import { readCache, referenceCache } from '../reference/cache.js';
import { f16FromF64 } from '../reference/format.js';
import { problemError, queriesPerKvHead } from '../reference/problem.js';
import { bitdecoding, recordTokens, schemeError } from '../reference/scheme.js';
import type { Case } from './case.js';
import type { Capabilities, Inputs, Kernel, Ran, RunOptions } from './kernel.js';

const tightest: Arithmetic = {
  operands: 'folded',
  fraction: 25,
  fusedProducts: 16,
  sumLanes: 32,
};

export function referenceCapabilities(arithmetic: Arithmetic | null): Capabilities {
  const { format, bits, groups, headSizes } = bitdecoding;
  return {
    name: 'reference',
    formats: [{ format, kAxis: ['channel'], bits, groups, headSizes }],
    layout: 'record128',
    tokensMax: 1_000_000,
    headsPerKvMax: 64,
    arithmetic,
    tiles: [8, 16, recordTokens],
    deterministic: true,
    batchInvariant: true,
    emulated: false,
    checked: false,
  };
}

export class ReferenceKernel implements Kernel {
  readonly uri = 'ref:';
  readonly device = { name: 'TypeScript reference', sm: 'float64', driver: 'none' };
  readonly capabilities: Capabilities;

  /** declared: capabilities that differ from the usual ones. */
  constructor(
    arithmetic: Arithmetic | null = tightest,
    declared: Pick<Partial<Capabilities>, 'tokensMax' | 'headsPerKvMax' | 'tiles'> = {},
  ) {
    this.capabilities = { ...referenceCapabilities(arithmetic), ...declared };
  }

  supports({ problem, scheme }: Case): string | null {
    const wrong = problemError(problem) ?? schemeError(scheme, problem);
    if (wrong !== null) return wrong;
    const { tokensMax, headsPerKvMax } = this.capabilities;
    const request = problem.tokens.findIndex((n) => n > tokensMax);
    if (request !== -1) {
      return `problem.tokens[${request}]: ${problem.tokens[request]}, at most ${tokensMax}`;
    }
    const ratio = queriesPerKvHead(problem);
    if (ratio <= headsPerKvMax) return null;
    return `problem.queryHeads: ${ratio} on a KV head, at most ${headsPerKvMax}`;
  }

  run(c: Case, { q, k, v }: Inputs, { poison }: RunOptions): Ran {
    const { problem, scheme, options } = c;
    const made = referenceCache(problem, scheme, k, v);
    const kResidual = poisonedTail(c, made.kResidual, poison);
    const vResidual = poisonedTail(c, made.vResidual, poison);
    const heads = readCache(problem, scheme, made.cache, kResidual, vResidual);
    const { output, lse } = attend(problem, options.softmaxScale, q, heads);
    return {
      kind: 'ran',
      cache: made.cache,
      kResidual,
      vResidual,
      output: Uint16Array.from(output, f16FromF64),
      lse: Float32Array.from(lse),
      violations: [],
      reports: [],
      scheduleHash: '',
    };
  }

  close(): void {}
}

/** The window (requests, 128, kvHeads, headSize) with poison in the rows behind the last token. */
function poisonedTail(c: Case, rows: Uint16Array, poison: number): Uint16Array {
  const { tokens, kvHeads, headSize } = c.problem;
  const rowSize = kvHeads * headSize;
  tokens.forEach((length, request) => {
    const window = request * recordTokens;
    const from = (window + (length % recordTokens)) * rowSize;
    rows.fill(poison * 0x101, from, (window + recordTokens) * rowSize);
  });
  return rows;
}
