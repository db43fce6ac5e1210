// canary.ts - kernels that are wrong on purpose, made of a right one.
//
// A property that passes a canary is blind, so tests and campaigns put one in now and then. The three
// are the standard wrong answers that tolerance-based tests of other projects let through: all zeros,
// two heads exchanged, the last token forgotten. Codes, violations and reports stay those of the right kernel.

import type { Case } from '../../properties/case.js';
import type { Inputs, Kernel, Ran, RunOptions, RunResult } from '../../properties/kernel.js';

export const CANARIES = ['zero-output', 'swapped-heads', 'dropped-last-token'] as const;
export type Canary = (typeof CANARIES)[number];

/** `inner`, spoiled. Cases in which the fault cannot show (one head, no token) run as they are. */
export function canaryKernel(inner: Kernel, canary: Canary): Kernel {
  return {
    uri: `${inner.uri}#${canary}`,
    device: inner.device,
    capabilities: inner.capabilities,
    supports: (c) => inner.supports(c),
    run(c, inputs, options) {
      const right = inner.run(c, inputs, options);
      return right.kind === 'ran' ? spoil[canary](right, inner, c, inputs, options) : right;
    },
    close: () => inner.close(),
  };
}

type Spoil = (right: Ran, inner: Kernel, c: Case, inputs: Inputs, options: RunOptions) => RunResult;

const spoil: Record<Canary, Spoil> = {
  'zero-output': (right) => ({ ...right, output: right.output.map(() => 0) }),

  'swapped-heads': (right, _inner, c) => {
    const { queryHeads, headSize } = c.problem;
    return {
      ...right,
      output: swapFirstTwo(right.output, queryHeads, headSize),
      lse: swapFirstTwo(right.lse, queryHeads, 1),
    };
  },

  'dropped-last-token': (right, inner, c, inputs, options) => {
    const shorter = withoutLastTokens(c, inputs);
    const wrong = inner.run(shorter.c, shorter.inputs, options);
    return wrong.kind === 'ran' ? { ...right, output: wrong.output, lse: wrong.lse } : wrong;
  },
};

/** Exchanges rows 0 and 1 of every request: x (requests, heads, size). */
function swapFirstTwo<T extends Uint16Array | Float32Array>(x: T, heads: number, size: number): T {
  const swapped = x.slice() as T;
  if (heads < 2) return swapped;
  for (let first = 0; first < x.length; first += heads * size) {
    swapped.set(x.subarray(first, first + size), first + size);
    swapped.set(x.subarray(first + size, first + 2 * size), first);
  }
  return swapped;
}

/** The same requests, each one token shorter (those without tokens stay). */
function withoutLastTokens(c: Case, inputs: Inputs): { c: Case; inputs: Inputs } {
  const { tokens, kvHeads, headSize } = c.problem;
  const shorter = tokens.map((length) => Math.max(0, length - 1));
  const row = kvHeads * headSize;
  const cut = (x: Uint16Array): Uint16Array => {
    const kept = new Uint16Array(shorter.reduce((sum, length) => sum + length, 0) * row);
    let from = 0;
    let to = 0;
    tokens.forEach((length, r) => {
      kept.set(x.subarray(from, from + shorter[r] * row), to);
      from += length * row;
      to += shorter[r] * row;
    });
    return kept;
  };
  return {
    c: { ...c, problem: { ...c.problem, tokens: shorter } },
    inputs: { q: inputs.q, k: cut(inputs.k), v: cut(inputs.v) },
  };
}
