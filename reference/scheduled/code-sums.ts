/**
 * Outputs on the tensor core: fused sums (mma.ts) of V codes and weights that are known to lie in
 * an interval, on top of accumulators that are.
 *
 * All terms are positive, so a fused sum grows with every operand, and falls with the exponent E at
 * which its terms are cut: the lower end is made of lower ends cut at the largest E that is
 * possible, the upper end of upper ends cut at the smallest. As in code-chain.ts a code aligns as
 * its weight does whatever it is, unless it is 0. Where no weight of a fused sum is open, terms are
 * the same for both ends.
 */
import type { HeadCache } from '../cache.js';
import { exponentOf } from '../format.js';
import { f32TowardZero } from '../mma.js';
import { type Core, cutTerms, power, sortByAlign, toF32Bits, zeroExponent } from './code-chain.js';
import type { Part } from './schedule.js';
import type { Ends } from './warp-sums.js';

/** P' of the tokens of a part in real units, (128) each, and how they align with a code. */
export interface TokenWeights extends Ends {
  readonly lowAlign: Int32Array;
  readonly highAlign: Int32Array;
  /** scratch: tokens of each fused sum, by descending highAlign */
  readonly order: Int32Array;
}

/** Tokens [from, to) of a part whose codes of channel d are at codes[base + t stride]. */
interface Column {
  readonly codes: Uint8Array;
  readonly base: number;
  readonly stride: number;
  readonly from: number;
  readonly to: number;
}

/** The accumulator and the terms cut at exponent e, rounded toward zero. */
function cutSum(core: Core, c: Column, weights: Float64Array, sum: number, e: number): number {
  const own = e - core.fraction;
  const toUnits = power(-own);
  const terms = cutTerms(c.codes, c.base, c.stride, weights, c.from, c.to, toUnits);
  return toF32Bits(((sum * toUnits) | 0) + terms) * power(own);
}

/** At least what upper ends add up to however they are cut; 2^-48 pays float64's own roundings. */
function uncutSum(c: Column, { high }: TokenWeights, sum: number): number {
  let all = sum;
  for (let t = c.from; t < c.to; t++) all += c.codes[c.base + t * c.stride] * high[t];
  return f32TowardZero(all * (1 + 2 ** -48));
}

/** One fused sum with open weights or accumulators of two exponents. */
function addOpen(core: Core, c: Column, w: TokenWeights, o: Ends, d: number): void {
  let low = zeroExponent;
  let high = zeroExponent;
  for (let t = c.from; t < c.to; t++) {
    if (c.codes[c.base + t * c.stride] === 0) continue;
    low = Math.max(low, w.lowAlign[t]);
    high = Math.max(high, w.highAlign[t]);
  }
  if (high === zeroExponent) return;
  low = Math.max(low, exponentOf(o.low[d])); // -1023 of zero: below every term
  high = Math.max(high, exponentOf(o.high[d]));
  o.low[d] = cutSum(core, c, w.low, o.low[d], high);
  o.high[d] = low === high ? cutSum(core, c, w.high, o.high[d], low) : uncutSum(c, w, o.high[d]);
}

/** The same where no weight is open. order: of this fused sum. */
function addKnown(
  core: Core,
  c: Column,
  w: TokenWeights,
  o: Ends,
  channels: readonly [number, number],
  codesAt: number,
): void {
  const { codes, stride, from, to } = c;
  const { low, high } = o;
  const { fraction } = core;
  for (let d = channels[0]; d < channels[1]; d++) {
    const base = codesAt + d;
    let e = zeroExponent;
    for (let i = from; i < to; i++) {
      const t = w.order[i];
      if (codes[base + t * stride] === 0) continue;
      e = w.highAlign[t];
      break;
    }
    if (e === zeroExponent) continue;
    const [a, b] = [low[d], high[d]];
    const [ofA, ofB] = [exponentOf(a), exponentOf(b)];
    if (ofA !== ofB && ofB > e) {
      addOpen(core, { ...c, base }, w, o, d);
      continue;
    }
    const own = Math.max(ofB, e) - fraction;
    const toUnits = power(-own);
    const sum = cutTerms(codes, base, stride, w.low, from, to, toUnits);
    const fromUnits = power(own);
    const first = (a * toUnits) | 0;
    low[d] = toF32Bits(sum + first) * fromUnits;
    high[d] = a === b ? low[d] : toF32Bits(sum + ((b * toUnits) | 0)) * fromUnits;
  }
}

/** Adds the products of a part's codes with weights to channels [first, end). */
export function addCodes(
  core: Core,
  head: HeadCache,
  part: Part,
  w: TokenWeights,
  first: number,
  end: number,
  o: Ends,
): void {
  const { codes } = head.v;
  const stride = head.headSize;
  const count = part.end - part.first;
  const n = core.fusedProducts;
  sortByAlign(w.order.subarray(0, count), w.highAlign, n);
  const codesAt = part.first * stride;
  for (let from = 0; from < count; from += n) {
    const to = Math.min(from + n, count);
    const column = { codes, base: codesAt, stride, from, to };
    let isOpen = false;
    for (let t = from; t < to; t++) {
      isOpen ||= w.low[t] !== w.high[t] || w.lowAlign[t] !== w.highAlign[t];
    }
    if (isOpen) {
      for (let d = first; d < end; d++) addOpen(core, { ...column, base: codesAt + d }, w, o, d);
    } else {
      addKnown(core, column, w, o, [first, end], codesAt);
    }
  }
}
