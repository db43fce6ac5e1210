// Tests of merge.ts: each end is what the kernel would compute from the ends that lead to it.
import { describe, expect, it } from 'vitest';
import { log2Error } from '../arithmetic.js';
import { ln2, log2 } from '../exp.js';
import { fmaF32 } from '../number-type.js';
import { type Draw, draws } from '../simulated/draw.js';
import { type Exponential, ex2, openExponential } from './interval.js';
import { logSum, mergeSplits, mergeWarps, type Partial, quotient } from './merge.js';
import { emptyMax, type WarpSums } from './warp-sums.js';

const { fround } = Math;
const headSize = 6;
const groups = 2;

/** low <= high, of either sign unless `positive`. */
function openEnds(draw: Draw, length: number, positive = false) {
  const pairs = Array.from({ length }, () => {
    const x = fround(positive ? 0.5 + draw.unit() : draw.normal());
    return [x, fround(x + draw.unit() * 2 ** -draw.below(12))];
  });
  return {
    low: Float64Array.from(pairs, ([low]) => low),
    high: Float64Array.from(pairs, ([, high]) => high),
  };
}

function warp(draw: Draw): WarpSums {
  return {
    max: fround(draw.normal()),
    sum: openEnds(draw, 8, true),
    zero: openEnds(draw, groups * 8),
    top: openEnds(draw, groups, true),
    o: openEnds(draw, headSize),
  };
}

const tree = (x: ArrayLike<number>, at: number) => {
  const pair = (i: number) => fround(x[at + i] + x[at + i + 1]);
  return fround(fround(pair(0) + pair(2)) + fround(pair(4) + pair(6)));
};

/** The products of both ends of a factor: a kernel's lies between them. */
const least = (f: { low: number; high: number }, y: number) =>
  Math.min(fround(f.low * y), fround(f.high * y));
const most = (f: { low: number; high: number }, y: number) =>
  Math.max(fround(f.low * y), fround(f.high * y));

describe('warps of a split', () => {
  it('are added in order, relative to the largest maximum', () => {
    for (let seed = 0; seed < 50; seed++) {
      const draw = draws(seed);
      const states = Array.from({ length: 1 + (seed % 4) }, () => warp(draw));
      const found = mergeWarps(openExponential, states, headSize);
      const max = Math.max(...states.map((state) => state.max));
      expect(found.max).toBe(max);
      const factors = states.map((state) => ex2(openExponential, fround(state.max - max)));
      const sum = { low: 0, high: 0 };
      states.forEach(({ sum: own }, i) => {
        sum.low = fround(sum.low + fround(factors[i].low * tree(own.low, 0)));
        sum.high = fround(sum.high + fround(factors[i].high * tree(own.high, 0)));
      });
      expect(found.sum).toEqual(sum);
      for (let d = 0; d < headSize; d++) {
        const o = { low: 0, high: 0 };
        const lane = d < headSize / groups ? 0 : 8;
        states.forEach((state, i) => {
          const low = fround(state.o.low[d] + tree(state.zero.low, lane));
          const high = fround(state.o.high[d] + tree(state.zero.high, lane));
          o.low = fround(o.low + least(factors[i], low));
          o.high = fround(o.high + most(factors[i], high));
        });
        expect([found.o.low[d], found.o.high[d]]).toEqual([o.low, o.high]);
      }
    }
  });

  it('that took no part leave nothing', () => {
    const found = mergeWarps(openExponential, [], headSize);
    expect(found).toEqual({
      max: emptyMax,
      sum: { low: 0, high: 0 },
      o: { low: new Float64Array(headSize), high: new Float64Array(headSize) },
    });
  });
});

function partial(draw: Draw): Partial {
  const { low, high } = openEnds(draw, 1, true);
  const sum = { low: low[0], high: high[0] };
  return { max: fround(draw.normal()), sum, o: openEnds(draw, headSize) };
}

describe('splits of a row', () => {
  it('are added in order with one rounding each', () => {
    for (let seed = 0; seed < 50; seed++) {
      const draw = draws(seed);
      const splits = Array.from({ length: 1 + (seed % 4) }, () => partial(draw));
      const found = mergeSplits(openExponential, splits, headSize);
      const max = Math.max(...splits.map((split) => split.max));
      expect(found.max).toBe(max);
      const factors = splits.map((split) => ex2(openExponential, fround(split.max - max)));
      const total = (of: (split: Partial) => readonly [number, number]) =>
        splits.reduce(
          ([low, high], split, i) => {
            const [a, b] = of(split);
            const { low: f, high: g } = factors[i];
            return [
              Math.min(fmaF32(f, a, low), fmaF32(g, a, low)),
              Math.max(fmaF32(f, b, high), fmaF32(g, b, high)),
            ];
          },
          [0, 0],
        );
      expect([found.sum.low, found.sum.high]).toEqual(total(({ sum }) => [sum.low, sum.high]));
      for (let d = 0; d < headSize; d++) {
        const ends = total(({ o }) => [o.low[d], o.high[d]]);
        expect([found.o.low[d], found.o.high[d]]).toEqual(ends);
      }
    }
  });

  it('that are alone stay as they are', () => {
    const own = partial(draws(3));
    const { low, high } = mergeSplits(openExponential, [own], headSize).o;
    expect([low, high]).toEqual([own.o.low, own.o.high]);
  });

  it('a factor is that of the exponential it is given', () => {
    const half: Exponential = { low: () => 0.25, high: () => 0.5, isKnown: false };
    const own = partial(draws(4));
    const found = mergeSplits(half, [own], headSize);
    expect(found.sum).toEqual({ low: own.sum.low / 4, high: own.sum.high / 2 });
  });
});

describe('the output', () => {
  const row = (low: number, high: number): Partial => ({
    max: 3,
    sum: { low: 2, high: 4 },
    o: { low: Float64Array.of(0, low), high: Float64Array.of(0, high) },
  });

  it('is the least and the most of the quotients of ends', () => {
    for (const [low, high] of [
      [1, 3],
      [-3, -1],
      [-1, 3],
      [0, 0],
    ]) {
      const all = [low, high].flatMap((o) => [o / 2, o / 4]);
      const found = quotient(row(low, high), 1);
      expect(found.low).toBe(Math.min(...all));
      expect(found.high).toBe(Math.max(...all));
    }
  });

  it('is rounded to binary32', () => {
    const third: Partial = { ...row(1, 1), sum: { low: 3, high: 3 } };
    expect(quotient(third, 1)).toEqual({ low: fround(1 / 3), high: fround(1 / 3) });
  });
});

describe('the log-sum-exp', () => {
  const of = (max: number, low: number, high: number) =>
    logSum({ max, sum: { low, high }, o: { low: new Float64Array(0), high: new Float64Array(0) } });

  it('is ln 2 (maximum + log2 of the sum), as far as log2 is known', () => {
    for (const [max, low, high] of [
      [0, 1, 1],
      [-7.5, 3, 5],
      [12.25, 2 ** -20, 2 ** 30],
      [0.5, 0.1, 0.3],
    ]) {
      const exact = [low, high].map((sum) => ln2 * (max + log2(sum)));
      const own = ln2 * log2Error(Math.max(Math.abs(log2(low)), Math.abs(log2(high))));
      const rounding = 2 ** -23 * (Math.abs(max) + 32);
      const found = of(max, low, high);
      expect(found.low).toBeLessThanOrEqual(exact[0] - own + rounding);
      expect(found.low).toBeGreaterThanOrEqual(exact[0] - own - rounding);
      expect(found.high).toBeGreaterThanOrEqual(exact[1] + own - rounding);
      expect(found.high).toBeLessThanOrEqual(exact[1] + own + rounding);
    }
  });

  it('takes the error of the larger logarithm', () => {
    const wide = of(0, 2 ** -90, 1);
    expect(wide.high).toBeGreaterThanOrEqual(fround(ln2 * log2Error(90)));
    const other = of(0, 1, 2 ** 90);
    expect(other.low).toBeLessThanOrEqual(-fround(ln2 * log2Error(90)));
  });
});
