// The bound of kernels that declare a precision: simulated kernels that round as they may stay
// within it at every shape, wrong answers do not, and rows without a bound are marked.
import { describe, expect, it } from 'vitest';
import { ex2Error, u } from './arithmetic.js';
import { admitsOutput, type BoundResult } from './bound.js';
import type { HeadCache } from './cache.js';
import { boundDense, type Precision, type Rounding, usualPrecision } from './dense-bound.js';
import { f16FromF64, f64FromF16 } from './format.js';
import { numberTypes } from './number-type.js';
import { draws } from './simulated/draw.js';

const { fround } = Math;
const size = 64;

function headOf(k: Float64Array, v: Float64Array, headSize = size): HeadCache {
  const none = { codes: new Uint8Array(0), scales: new Uint16Array(0), zeros: new Uint16Array(0) };
  return {
    scheme: { format: 'bitdecoding', kAxis: 'channel', bits: 4, group: 128 },
    ...{ headSize, tokens: k.length / headSize, type: 'fp16', packed: 0, k: none, v: none },
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

describe('the bound of two tokens with equal scores, worked out by hand', () => {
  const [half, f16] = [2 ** -25, 2 ** -11];
  const p: Precision = { operands: 'f16', scores: 'f16', weights: 'f16', rescaleTokens: 16 };
  const q = Float64Array.of(1, 2);
  const keys = Float64Array.of(3, 4, 3, 4); // q.k = 11 = sum of magnitudes, sum of sizes 10
  const values = Float64Array.of(1, -8, 3, -8);
  const problem = { tokens: [2], queryHeads: 1, kvHeads: 1, headSize: 2 };
  const boundOf = (precision: Precision, k: Float64Array, v: Float64Array, own = q, scale = 0.5) =>
    boundDense(problem, scale, own, [headOf(k, v, 2)], precision);

  /** error: of a score of 5.5; vError: relative, of values. */
  function expectTerms(bound: BoundResult, error: number, of: Precision, vError: number): void {
    const [unit, quantum] = of.weights === 'f16' ? [f16, half] : [u, 0];
    const rescales = Math.ceil(2 / of.rescaleTokens) + 3;
    const theta = Math.expm1(error + 8 * u * (5.5 + 5.5) + (rescales + 2) * (1.48e-7 + 4 * u));
    const keep = 1 - theta;
    const summed = (2 * 2 + 2 * rescales + 8) * u;
    const relative = (1 + unit) * (1 + vError) * (1 + summed) - 1;
    const radiusOf = (output: number, magnitude: number, sizes: number, most: number) => {
      const drift = (theta * (magnitude - output)) / keep; // |v - o| is 1 for both, or 0
      const operands = of.operands === 'f16' ? 2 * half : 0;
      const products = (relative * magnitude * (1 + theta)) / keep + quantum * sizes + operands;
      const sum = (summed + 4 * u) * (output + drift);
      const own = (2 + 256) * 2 ** -52 * most + 2 ** -64 * (1 + most);
      return drift + (products + sum) / (1 - summed) + own;
    };
    const drift = (theta * 1) / keep;
    const first = radiusOf(2, 2, 4, 3) + drift * (1 + (summed + 4 * u) / (1 - summed));
    const wanted = [first, radiusOf(8, 8, 16, 8)];
    wanted.forEach((radius, d) => {
      expect(Math.abs(bound.outputRadius[d] / radius - 1)).toBeLessThan(1e-14);
      const stored = radius + f16 * (Math.abs(bound.output[d]) + radius);
      expect(Math.abs(bound.outputBound[d] / stored - 1)).toBeLessThan(1e-14);
    });
    const lse = 5.5 + Math.LN2;
    const lseBound = theta / keep + summed / (1 - summed) + 8 * u * (1 + lse) + 2 ** -64;
    expect(Math.abs(bound.lseBound[0] / lseBound - 1)).toBeLessThan(1e-14);
    expect(Math.abs(bound.lse[0] - lse)).toBeLessThan(1e-14);
    expect([...bound.output]).toEqual([2, -8]);
    expect([bound.guarded[0], bound.valueMax[0]]).toEqual([0, 8]);
  }

  it('in fp16, of operands that fp16 has: what is left is f32, and the rounded score', () => {
    const error = 0.5 * ((2 * 2 + 4) * u * 11 + half * 10) + 2 * f16 * 5.5 + 2 * half * 1.5;
    expectTerms(boundOf(p, keys, values), error, p, 0);
  });

  it('in fp16, of operands that are rounded, after the scale', () => {
    const scaled = { ...p, scaledOperands: true };
    const rounded = 11 * f16 + 3 * half; // the score
    const once = (1 + f16) ** 4 * (1 + 8 * u) - 1;
    expectTerms(boundOf(scaled, keys, values), 0.5 * (once * 11 + half * 10) + rounded, scaled, 0);
    // Keys that fp16 does not have, with the same products.
    const e = 2 ** -40;
    const k = Float64Array.of(3 + 2 * e, 4 - e, 3 + 2 * e, 4 - e);
    const twice = (1 + f16) ** 5 * (1 + 8 * u) - 1;
    expectTerms(boundOf(scaled, k, values), 0.5 * (twice * 11 + half * 10) + rounded, scaled, 0);
  });

  it('in f32, whatever the values, with a rescale for each token', () => {
    const f32: Precision = { operands: 'f32', scores: 'f32', weights: 'f32', rescaleTokens: 1 };
    expectTerms(boundOf(f32, keys, values), 0.5 * 8 * u * 11 + 2 * u * 5.5, f32, 0);
    const third = Float64Array.of(1 / 3, 1 / 3, 1 / 3, 1 / 3);
    const exact = Float64Array.of(0.25, 0.25, 0.25, 0.25);
    const ratio = boundOf(f32, third, values).lseBound[0] / boundOf(f32, exact, values).lseBound[0];
    expect(ratio).toBeLessThan(1.1); // no error of an operand
    // Keys that f32 does not have, with the same products.
    const e = 2 ** -40;
    const k = Float64Array.of(3 + 2 * e, 4 - e, 3 + 2 * e, 4 - e);
    expectTerms(boundOf(f32, k, values), 0.5 * 8 * u * 11 + 2 * u * 5.5, f32, 0);
  });

  it('of values that are rounded', () => {
    const v = Float64Array.of(1, -8, 3, -8 + 2 ** -40);
    const found = boundOf(p, keys, v);
    const exact = boundOf(p, keys, values);
    // (1 + f16) times 8 (1 + theta) / keep, and no more
    const [more, less] = [found.outputRadius[1], exact.outputRadius[1]];
    expect(more - less).toBeGreaterThan(8 * f16);
    expect(more - less).toBeLessThan(8 * f16 * 1.1);
  });

  it('of values of zero is what weights lose, and half an ulp of the smallest normal', () => {
    const f32: Precision = { operands: 'f32', scores: 'f32', weights: 'f32', rescaleTokens: 1 };
    const found = boundOf(f32, keys, new Float64Array(4));
    expect([...found.outputRadius]).toEqual([2 ** -64, 2 ** -64]);
    expect([...found.outputBound]).toEqual([0, 0].map(() => 2 ** -64 + f16 * 2 ** -14));
  });
});

describe('a precision', () => {
  it('that nobody declares is that of a tensor core in fp16, 16 tokens a step', () => {
    const wanted = { operands: 'f16', scores: 'f32', weights: 'f16', rescaleTokens: 16 };
    expect(usualPrecision).toEqual(wanted);
  });

  it('leaves the log-sum-exp of one token of zeros what its weight and its logarithm lose', () => {
    const problem = { tokens: [1], queryHeads: 1, kvHeads: 1, headSize: 1 };
    const zero = new Float64Array(1);
    const { lse, lseBound } = boundDense(problem, 1, zero, [headOf(zero, zero, 1)], precisions[0]);
    expect(lse[0]).toBe(0);
    // One rescale and three more; 2^-64 is for weights that f32 flushes.
    const theta = Math.expm1(6 * (ex2Error + 4 * u));
    const summed = (2 + 2 * 4 + 8) * u;
    const wanted = theta / (1 - theta) + summed / (1 - summed) + 8 * u + 2 ** -64;
    expect(Math.abs(lseBound[0] / wanted - 1)).toBeLessThan(2 ** -49);
  });
});

describe('rows of several requests and heads', () => {
  const f32: Precision = { operands: 'f32', scores: 'f32', weights: 'f32', rescaleTokens: 1 };
  it('are those of one request and head, each', () => {
    const draw = draws(5);
    const values = (n: number) => Float64Array.from({ length: n }, () => draw.normal());
    const heads = [3, 3, 0, 0, 2, 2].map((n) => headOf(values(n * 4), values(n * 4), 4));
    const p = { tokens: [3, 0, 2], queryHeads: 4, kvHeads: 2, headSize: 4 };
    const q = values(12 * 4);
    const all = boundDense(p, 0.5, q, heads, f32);
    for (let row = 0; row < 12; row++) {
      const head = heads[row >> 1];
      const one = { tokens: [head.tokens], queryHeads: 1, kvHeads: 1, headSize: 4 };
      const own = boundDense(one, 0.5, q.subarray(row * 4, row * 4 + 4), [head], f32);
      const part = (x: Float64Array) => x.subarray(row * 4, row * 4 + 4);
      expect(part(all.output)).toEqual(own.output);
      expect(part(all.outputBound)).toEqual(own.outputBound);
      expect(part(all.outputRadius)).toEqual(own.outputRadius);
      expect([all.lse[row], all.lseBound[row], all.valueMax[row]]).toEqual([
        ...[own.lse[0], own.lseBound[0], own.valueMax[0]],
      ]);
    }
    expect(all.lse.length).toBe(12);
    expect(all.alternative.every(Number.isNaN)).toBe(true);
  });
});

describe('a row is guarded', () => {
  it('where weights may be off by a tenth; its output is still that of float64', () => {
    const { q, k, v } = drawn(4, 9, 4);
    const bound = boundDense(problemOf(9), 1, q, [headOf(k, v)], precisions[3]);
    expect(bound.guarded[0]).toBe(1);
    for (const x of [bound.outputBound, bound.outputRadius, bound.lseBound]) {
      expect(x.every(Number.isNaN)).toBe(true);
    }
    const scores = Array.from({ length: 9 }, (_, j) =>
      q.reduce((sum, x, i) => sum + x * k[j * size + i], 0),
    );
    const max = Math.max(...scores);
    const weights = scores.map((s) => Math.exp(s - max));
    const sum = weights.reduce((a, b) => a + b);
    expect(bound.lse[0]).toBeCloseTo(max + Math.log(sum), 12);
    bound.output.forEach((x, d) => {
      const wanted = weights.reduce((all, w, j) => all + (w / sum) * v[j * size + d], 0);
      expect(Math.abs(x - wanted)).toBeLessThan(1e-13 * 20);
    });
  });

  it('from the tenth on: two tokens of one score', () => {
    const precision = precisions[0]; // f32, with a rescale for each token
    const problem = { tokens: [2], queryHeads: 1, kvHeads: 1, headSize: 1 };
    const ones = Float64Array.of(1, 1);
    // The middle one reaches 0.1 exactly.
    const score = 66624.75384917583;
    const found = [score - 2 ** -30, score, score + 2 ** -30].map((s) => {
      const head = headOf(Float64Array.of(s, s), ones, 1);
      const error = 6 * u * s + 2 * u * s;
      const theta = Math.expm1(error + 8 * u * (s + s) + 7 * (ex2Error + 4 * u));
      const { guarded } = boundDense(problem, 1, Float64Array.of(1), [head], precision);
      expect(guarded[0]).toBe(theta >= 0.1 ? 1 : 0);
      return guarded[0];
    });
    expect([found[0], found[2]]).toEqual([0, 1]);
  });

  it('where the sum of weights may be off by a tenth: 840,000 tokens one after another', () => {
    const long = (tokens: number) => {
      const zeros = new Float64Array(tokens);
      const p = { tokens: [tokens], queryHeads: 1, kvHeads: 1, headSize: 1 };
      const f32 = {
        operands: 'f32',
        scores: 'f32',
        weights: 'f32',
        rescaleTokens: 2 ** 30,
      } as const;
      return boundDense(p, 1, new Float64Array(1), [headOf(zeros, zeros, 1)], f32).guarded[0];
    };
    expect([838_000, 840_000].map(long)).toEqual([0, 1]);
  });
});
