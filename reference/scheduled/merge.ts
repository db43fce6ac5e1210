/**
 * The end of a query row in a folding kernel, as intervals: warps to splits, splits to the row.
 *
 *   warp   f = ex2(own maximum - the block's); sums of lanes in a tree, ((0 1)(2 3))((4 5)(6 7));
 *          outputs RN(o + zero sum) in real units; then RN(f sum), RN(f o), added in order
 *   split  f = ex2(own maximum - the row's); l = fma(f, l_i, l), o = fma(f, o_i, o) in order; with
 *          one split nothing is left to do
 *   row    output RN(o / l), lse RN(ln 2 RN(M + log2 l)), log2 within log2Error
 */
import { log2Error } from '../arithmetic.js';
import { ln2, log2 } from '../exp.js';
import {
  type Exponential,
  ex2,
  fmaHigh,
  fmaLow,
  type Interval,
  scaledHigh,
  scaledLow,
} from './interval.js';
import { type Ends, emptyMax, type WarpSums } from './warp-sums.js';

const { fround } = Math;

/** Sums relative to 2^max. */
export interface Partial {
  readonly max: number;
  readonly sum: Interval;
  /** (headSize) */
  readonly o: Ends;
}

/** Eight lanes of x from `at` on, added as shuffles with distances 1, 2 and 4 do it. */
function laneSum(x: Float64Array, at: number): number {
  const pair = (i: number) => fround(x[at + i] + x[at + i + 1]);
  return fround(fround(pair(0) + pair(2)) + fround(pair(4) + pair(6)));
}

const largest = (states: readonly { readonly max: number }[]) =>
  states.reduce((max, state) => Math.max(max, state.max), emptyMax);

const emptyEnds = (length: number): Ends => ({
  low: new Float64Array(length),
  high: new Float64Array(length),
});

/** The warps of one split, in order; one that took no part adds exact zeros. */
export function mergeWarps(
  exponential: Exponential,
  states: readonly WarpSums[],
  headSize: number,
): Partial {
  const max = largest(states);
  const o = emptyEnds(headSize);
  let low = 0;
  let high = 0;
  for (const state of states) {
    const factor = ex2(exponential, fround(state.max - max));
    low = fround(low + fround(factor.low * laneSum(state.sum.low, 0)));
    high = fround(high + fround(factor.high * laneSum(state.sum.high, 0)));
    const size = headSize / state.top.low.length;
    for (let d = 0; d < headSize; d++) {
      const lane = Math.floor(d / size) * 8;
      const real = {
        low: fround(state.o.low[d] + laneSum(state.zero.low, lane)),
        high: fround(state.o.high[d] + laneSum(state.zero.high, lane)),
      };
      o.low[d] = fround(o.low[d] + scaledLow(factor, real.low));
      o.high[d] = fround(o.high[d] + scaledHigh(factor, real.high));
    }
  }
  return { max, sum: { low, high }, o };
}

/** Splits, in order; of one that is alone every bit stays. */
export function mergeSplits(
  exponential: Exponential,
  splits: readonly Partial[],
  headSize: number,
): Partial {
  const max = largest(splits);
  const o = emptyEnds(headSize);
  let low = 0;
  let high = 0;
  for (const split of splits) {
    const factor = ex2(exponential, fround(split.max - max));
    low = fmaLow(factor, split.sum.low, low);
    high = fmaHigh(factor, split.sum.high, high);
    for (let d = 0; d < headSize; d++) {
      o.low[d] = fmaLow(factor, split.o.low[d], o.low[d]);
      o.high[d] = fmaHigh(factor, split.o.high[d], o.high[d]);
    }
  }
  return { max, sum: { low, high }, o };
}

/** Lower and upper end of o / l of channel d, before the store. */
export function quotient({ sum, o }: Partial, d: number): Interval {
  const [low, high] = [o.low[d], o.high[d]];
  return {
    low: fround(low / (low >= 0 ? sum.high : sum.low)),
    high: fround(high / (high >= 0 ? sum.low : sum.high)),
  };
}

/** Of the log-sum-exp. */
export function logSum({ max, sum }: Partial): Interval {
  const f32Ln2 = fround(ln2);
  const error = log2Error(Math.max(Math.abs(log2(sum.low)), Math.abs(log2(sum.high)))) + 2 ** -44;
  const of = (log: number) => fround(f32Ln2 * fround(max + log));
  return { low: of(log2(sum.low) - error), high: of(log2(sum.high) + error) };
}
