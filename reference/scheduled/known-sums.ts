/**
 * One channel group of a packed part where no exponential is open (interval.ts): then nothing is,
 * both ends of every interval are the same number, and it is computed once, with the fused sums of
 * all channels in vectors. warp-sums.ts has the steps, and the same for intervals.
 */
import type { HeadCache } from '../cache.js';
import { exponentOf, f16Values, significand11 } from '../format.js';
import { fmaF32 } from '../number-type.js';
import { power, zeroExponent } from './code-chain.js';
import type { CodeTile, FusedCodes } from './fused-codes.js';
import { fieldWeight, type Part } from './schedule.js';
import type { Ends, WarpSums } from './warp-sums.js';

const { fround } = Math;

/** Lanes that share the sums of zeros. */
const lanes = 8;

export function unitOf(top: number): number {
  return Math.min(Math.max(14 - exponentOf(top), -2), 100); // 100 of zero
}

/** P' 2^(w - unit) of a weight x: RN16 in units in which fp16 is subnormal below 2^-14. */
export function roundedWeight(x: number, shift: number): number {
  if (x >= power(-14 - shift)) return significand11(x);
  const grid = power(-24 - shift + 52);
  return x + grid - grid;
}

/** RN(x decay) for elements [first, end) of both ends, which are equal. */
function decayBoth({ low, high }: Ends, decay: number, first: number, end: number): void {
  if (decay === 1) return;
  for (let i = first; i < end; i++) low[i] = high[i] = fround(decay * low[i]);
}

/** P' of the weights, in real units, as the operand of the fused sums. */
function setWeights(fused: FusedCodes, weights: Float64Array, bits: number, unit: number): void {
  const { x, align } = fused;
  for (let t = 0; t < weights.length; t++) {
    const field = fieldWeight(bits, t);
    const weight = roundedWeight(weights[t], unit - field);
    x[t] = weight;
    align[t] = weight === 0 ? zeroExponent : Math.max(exponentOf(weight) - field + 10, -4 - unit);
  }
  fused.setOperand(weights.length);
}

/**
 * Takes one channel group of a part into the sums of its warp. p: weights of the part's tokens;
 * weights: room for as many; values: the tile of the part's V.
 */
export function addKnownGroup(
  fused: FusedCodes,
  head: HeadCache,
  state: WarpSums,
  part: Part,
  decay: number,
  group: number,
  p: Float64Array,
  weights: Float64Array,
  values: CodeTile,
): void {
  const { v, scheme, headSize } = head;
  const groups = state.top.low.length;
  const count = part.end - part.first;
  const zero = state.zero.low;
  decayBoth(state.zero, decay, group * lanes, (group + 1) * lanes);
  let top = fround(decay * state.top.low[group]);
  for (let t = 0; t < count; t++) {
    const parameter = (part.first + t) * groups + group;
    const lane = group * lanes + (t & 7);
    zero[lane] = fmaF32(p[t], f16Values[v.zeros[parameter]], zero[lane]);
    const weight = fround(p[t] * f16Values[v.scales[parameter]]);
    weights[t] = weight;
    if (weight > top) top = weight;
  }
  state.zero.high.set(zero);
  state.top.low[group] = state.top.high[group] = top;
  setWeights(fused, weights.subarray(0, count), scheme.bits, unitOf(top));
  const [first, end] = [(group * headSize) / groups, ((group + 1) * headSize) / groups];
  decayBoth(state.o, decay, first, end);
  const { sums } = fused;
  for (let d = first; d < end; d++) sums[d] = state.o.low[d];
  fused.add(values, 0, values.runs, count, first, end);
  for (let d = first; d < end; d++) state.o.low[d] = state.o.high[d] = sums[d];
}
