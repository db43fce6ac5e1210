// The bound of kernels that declare a precision: simulated kernels that round as they may stay
// within it at every shape, wrong answers do not, and rows without a bound are marked.
import { describe, expect, it } from 'vitest';
import { admitsOutput, type BoundResult } from './bound.js';
import type { HeadCache } from './cache.js';
import { boundDense, type Precision, type Rounding } from './dense-bound.js';
import { f16FromF64, f64FromF16 } from './format.js';
import { numberTypes } from './number-type.js';
import { draws } from './simulated/draw.js';

const { fround } = Math;
const size = 64;

function headOf(k: Float64Array, v: Float64Array): HeadCache {
  const none = { codes: new Uint8Array(0), scales: new Uint16Array(0), zeros: new Uint16Array(0) };
  return {
    scheme: { format: 'bitdecoding', kAxis: 'channel', bits: 4, group: 128 },
    ...{ headSize: size, tokens: k.length / size, type: 'fp16', packed: 0, k: none, v: none },
    ...{ kResidual: new Uint16Array(0), vResidual: new Uint16Array(0), dense: { k, v } },
  };
}

/** A kernel in f32 that goes through the tokens one by one, rounding where `p` lets it. */
function kernel(p: Precision, scale: number, q: Float64Array, k: Float64Array, v: Float64Array) {
  const at = (type: Rounding, x: number) =>
    type === 'f32' ? fround(x) : numberTypes[type].round(fround(x));
  let max = Number.NEGATIVE_INFINITY;
  let sum = 0;
  const out = new Float64Array(size);
  for (let j = 0; j < k.length / size; j++) {
    let dot = 0;
    for (let i = 0; i < size; i++) {
      dot = fround(dot + at(p.operands, q[i]) * at(p.operands, k[j * size + i]));
    }
    const score = at(p.scores, at(p.scores, dot) * fround(scale));
    if (score > max) {
      const factor = fround(Math.exp(fround(max - score)));
      for (let d = 0; d < size; d++) out[d] = fround(out[d] * factor);
      sum = fround(sum * factor);
      max = score;
    }
    const weight = fround(Math.exp(fround(score - max)));
    sum = fround(sum + weight);
    for (let d = 0; d < size; d++) {
      out[d] = fround(out[d] + at(p.weights, weight) * at(p.operands, v[j * size + d]));
    }
  }
  return { output: out.map((x) => fround(x / sum)), lse: fround(max + fround(Math.log(sum))) };
}

const precisions: Precision[] = [
  { operands: 'f32', scores: 'f32', weights: 'f32', rescaleTokens: 1 },
  { operands: 'f16', scores: 'f32', weights: 'f16', rescaleTokens: 1 },
  { operands: 'f16', scores: 'f16', weights: 'f16', rescaleTokens: 1 },
  { operands: 'bf16', scores: 'f32', weights: 'bf16', rescaleTokens: 1 },
];

function drawn(seed: number, tokens: number, spread: number) {
  const draw = draws(seed);
  const values = (n: number) => Float64Array.from({ length: n }, () => spread * draw.normal());
  return { q: values(size), k: values(tokens * size), v: values(tokens * size) };
}

const problemOf = (tokens: number) => {
  return { tokens: [tokens], queryHeads: 1, kvHeads: 1, headSize: size };
};

function rejected(bound: BoundResult, output: Float64Array): number {
  let count = 0;
  output.forEach((x, i) => {
    if (!admitsOutput(bound, i, f64FromF16(f16FromF64(x)))) count += 1;
  });
  return count;
}

describe('boundDense', () => {
  for (const precision of precisions) {
    const name = `${precision.operands}/${precision.scores}/${precision.weights}`;
    it(`holds for a kernel of ${name}, and rejects the zero output and a dropped token`, () => {
      for (const [seed, tokens] of [1, 2, 17, 130, 300].entries()) {
        // bf16 scores of a large spread have no bound any more.
        for (const spread of precision.operands === 'bf16' ? [0.25, 1] : [0.25, 1, 3]) {
          const { q, k, v } = drawn(seed + 1, tokens, spread);
          const scale = 1 / 8;
          const bound = boundDense(problemOf(tokens), scale, q, [headOf(k, v)], precision);
          expect(bound.guarded[0]).toBe(0);
          const right = kernel(precision, scale, q, k, v);
          expect(rejected(bound, right.output)).toBe(0);
          expect(Math.abs(right.lse - bound.lse[0])).toBeLessThanOrEqual(bound.lseBound[0]);
          expect(rejected(bound, right.output.fill(0))).toBeGreaterThan(0);
        }
      }
    });
  }

  it('rejects attention without the last of a few tokens', () => {
    const { q, k, v } = drawn(9, 20, 1);
    const [precision] = precisions;
    const bound = boundDense(problemOf(20), 0.125, q, [headOf(k, v)], precision);
    const short = kernel(precision, 0.125, q, k.subarray(size), v.subarray(size));
    expect(rejected(bound, short.output)).toBeGreaterThan(size / 2);
  });

  it('has no bound, only classes, where an operand is not finite in its type', () => {
    const { q, k, v } = drawn(3, 4, 1);
    v[5] = Number.POSITIVE_INFINITY;
    const infinite = boundDense(problemOf(4), 1, q, [headOf(k, v)], precisions[0]);
    expect(infinite.guarded[0]).toBe(1);
    expect(infinite.output[5]).toBe(Number.POSITIVE_INFINITY);
    expect(Number.isFinite(infinite.output[6])).toBe(true);
    v[5] = 1e5;
    expect(boundDense(problemOf(4), 1, q, [headOf(k, v)], precisions[1]).guarded[0]).toBe(1);
    expect(boundDense(problemOf(4), 1, q, [headOf(k, v)], precisions[0]).guarded[0]).toBe(0);
  });

  it('gives zero and -Inf without tokens, exactly', () => {
    const none = new Float64Array(0);
    const q = new Float64Array(size).fill(1);
    const bound = boundDense(problemOf(0), 1, q, [headOf(none, none)], precisions[0]);
    expect(bound.output.every((x) => x === 0)).toBe(true);
    expect(bound.outputBound.every((x) => x === 0)).toBe(true);
    expect(bound.lse[0]).toBe(Number.NEGATIVE_INFINITY);
    expect(bound.lseBound[0]).toBe(0);
  });
});
