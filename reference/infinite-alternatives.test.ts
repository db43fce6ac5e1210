// Tests of infinite-alternatives.ts in bounds: an infinite value whose weight is 0 makes NaN in
// float64, or its infinity where no score is known to a bit; nowhere else.
import { expect, it } from 'vitest';
import { type Arithmetic, anyArithmetic, boundL1 } from './bound.js';
import { type HeadCache, readCache, referenceCache } from './cache.js';
import { f16FromF64 } from './format.js';
import { infiniteAlternatives } from './infinite-alternatives.js';
import type { Problem } from './problem.js';
import { emptyQuantized } from './quantize.js';
import type { Scheme } from './scheme.js';

const size = 64;
const p: Problem = { tokens: [2], queryHeads: 1, kvHeads: 1, headSize: size };
const scheme: Scheme = { format: 'bitdecoding', kAxis: 'channel', bits: 4, group: 128 };
const words = (of: (i: number) => number, count = size) =>
  Uint16Array.from({ length: count }, (_, i) => f16FromF64(of(i)));

/** Scores cancel, from terms of 1541 * 511 * scale; values of the first channels are given. */
function bound(scale: number, values: readonly (readonly [number, number])[]) {
  const sign = (i: number) => (i % 2 === 0 ? 1 : -1);
  const k = words((i) => 1541 * sign(i) * (i < size ? 1 : -1), 2 * size);
  const q = words((i) => -511 + (i % 3) / 4);
  const v = words((i) => values[i % size]?.[i < size ? 0 : 1] ?? 1, 2 * size);
  const { cache, kResidual, vResidual } = referenceCache(p, scheme, k, v);
  const heads = readCache(p, scheme, cache, kResidual, vResidual);
  return boundL1(p, scale, q, heads, anyArithmetic);
}

const inf = Number.POSITIVE_INFINITY;
const none = emptyQuantized(0, 1, 0);
const both = [
  [inf, 1],
  [1, inf],
] as const;

// E_j of a scale of 2 lies between 657 / 2, where nothing is known any more, and 657.
it.each([2, 64])('is the infinity of a channel in which a weight of 0 met it: %i', (scale) => {
  const { output, alternative, guarded, lse } = bound(scale, both);
  expect(guarded[0]).toBe(1);
  expect(Number.isFinite(lse[0])).toBe(true);
  // One of the two tokens has all of the weight, so one channel is NaN and the other Inf.
  const nan = Number.isNaN(output[0]) ? 0 : 1;
  expect([output[nan], output[1 - nan]]).toEqual([Number.NaN, inf]);
  expect([alternative[nan], alternative[1 - nan]]).toEqual([inf, Number.NaN]);
  expect(alternative.subarray(2).every(Number.isNaN)).toBe(true);
});

it('is there for one infinity, not for both, nor beside NaN', () => {
  const { output, alternative } = bound(64, [
    [-inf, -inf],
    [inf, -inf],
    [Number.NaN, inf],
    [inf, Number.NaN],
  ]);
  expect(output.subarray(0, 4).every(Number.isNaN)).toBe(true);
  expect([...alternative.subarray(0, 4)]).toEqual([-inf, Number.NaN, Number.NaN, Number.NaN]);
});

it('is found behind the first block of tokens, and nothing behind the last', () => {
  const long: HeadCache = {
    ...{ scheme, headSize: 1, tokens: 130, type: 'fp16', packed: 0 },
    ...{ k: none, v: none, kResidual: new Uint16Array(130) },
    vResidual: Uint16Array.from({ length: 130 }, (_, t) => (t === 129 ? 0xfc00 : 0x3c00)),
  };
  const alternative = new Float64Array(1);
  infiniteAlternatives(long, new Float64Array(128), Float64Array.of(Number.NaN), alternative);
  expect(alternative[0]).toBe(-inf);
  infiniteAlternatives(long, new Float64Array(128), Float64Array.of(3), alternative.fill(7));
  expect(alternative[0]).toBe(7);
});

it('is nowhere if scores are known', () => {
  const { output, alternative, guarded } = bound(1, both);
  expect(guarded[0]).toBe(1);
  expect([output[0], output[1]].some(Number.isNaN)).toBe(true);
  expect(alternative.every(Number.isNaN)).toBe(true);
});

/**
 * The bound of query rows of zeros and of ones, in this order, over 128 packed tokens. Token 0, an
 * infinite value, has smaller keys than the others: codes of 7, not 15, times `step`. The last
 * channel has the scale `outlier`, but its codes are 0 and so is the query.
 */
function packedBound(operands: Arithmetic['operands'], scale: number, step: number, outlier = 1) {
  const isLast = (i: number) => i % size === size - 1;
  const code = (i: number) => (i < size ? 7 : 15);
  const codes = Uint8Array.from({ length: 128 * size }, (_, i) => (isLast(i) ? 0 : code(i)));
  const scales = words((i) => (isLast(i) ? outlier : step));
  const v = emptyQuantized(128, size, 128);
  const head: HeadCache = {
    ...{ scheme, headSize: size, tokens: 128, type: 'fp16', packed: 128 },
    k: { codes, scales, zeros: words(() => 0) },
    v: { ...v, zeros: words((t) => (t === 0 ? inf : 1), 128) },
    ...{ kResidual: new Uint16Array(0), vResidual: new Uint16Array(0) },
  };
  const q = words((i) => (i < size || isLast(i) ? 0 : 1), 2 * size);
  const shape = { tokens: [128], queryHeads: 2, kvHeads: 1, headSize: size };
  return boundL1(shape, scale, q, [head], { ...anyArithmetic, operands });
}

// Folding loses bits of all elements if one channel has a large scale, dequantising does not.
it.each([
  { scale: 2 ** 17, step: 1, outlier: 1, by: ['dequantized', 'dequantized-twice'] },
  { scale: 2 ** 22, step: 2 ** -12, outlier: 2 ** 15, by: ['folded'] },
])('is there if a kernel may use a cache in a way that makes it: $by', (given) => {
  const { scale, step, outlier, by } = given;
  const of = (operands: Arithmetic['operands']) =>
    packedBound(operands, scale, step, outlier).alternative[size];
  const all = ['folded', 'dequantized', 'dequantized-twice'] as const;
  expect(all.map(of)).toEqual(all.map((name) => (by.includes(name) ? inf : Number.NaN)));
  expect(of('any')).toBe(inf);
});

it('is that of the second query row, where the first has an infinite output', () => {
  const { output, alternative } = packedBound('folded', 2 ** 30, 1);
  const rows = (x: Float64Array) => [x.subarray(0, size), x.subarray(size)];
  const [of, other] = [rows(output), rows(alternative)];
  expect(of[0].every((x) => x === inf) && of[1].every(Number.isNaN)).toBe(true);
  expect(other[0].every(Number.isNaN) && other[1].every((x) => x === inf)).toBe(true);
});
