/**
 * Scores on the tensor core, bit for bit: chains of fused sums (mma.ts) of codes times an operand.
 *
 * A code c in a field of weight 2^w is the fp16 subnormal c 2^(w - 24), which aligns at -14, and
 * the operand b of its channel carries the inverse weight. With x = b 2^w a product is c x 2^-24,
 * and in units of 2^-24, in which everything here counts, it aligns at
 *   align = max(exponent of b, -14) + 10
 * whatever the code is, unless it is 0. So the channels of a fused sum are looked at by descending
 * align, and the first with a code decides. Terms are below 2^(F - 1), so all is done in integers:
 * 16 of them and an accumulator stay below 2^31.
 */
import { exponentOf } from '../format.js';

/** Exponent of what is zero. */
export const zeroExponent = -10_000;

const powersFrom = -1000;
const powers = Float64Array.from({ length: 2000 }, (_, i) => 2 ** (i + powersFrom));

/** 2^e for |e| < 1000. */
export function power(e: number): number {
  return powers[e - powersFrom];
}

/** The tensor core, as far as finite numbers of ordinary size see it. */
export interface Core {
  /** F */
  readonly fraction: number;
  /** n */
  readonly fusedProducts: number;
}

/** Operand of one chain: (channels) each. */
export interface CodeOperand {
  /** x */
  readonly values: Float64Array;
  readonly align: Int32Array;
  /** channels of each fused sum, by descending align */
  readonly order: Int32Array;
}

/** Sorts each run of n indexes by descending align, in place. */
export function sortByAlign(order: Int32Array, align: ArrayLike<number>, n: number): void {
  for (let first = 0; first < order.length; first += n) {
    const end = Math.min(first + n, order.length);
    for (let i = first; i < end; i++) {
      let at = i;
      for (; at > first && align[order[at - 1]] < align[i]; at--) order[at] = order[at - 1];
      order[at] = i;
    }
  }
}

/** Exponent at which a product of a code and b aligns, in units of 2^-24. */
export function codeAlignment(b: number): number {
  return b === 0 ? zeroExponent : Math.max(exponentOf(b), -14) + 10;
}

/** b: fp16 values without their field weights, (channels); weights: w of each. */
export function codeOperand(core: Core, b: Float64Array, weights: Int32Array): CodeOperand {
  const values = b.map((x, i) => x * power(weights[i]));
  const align = Int32Array.from(b, codeAlignment);
  const order = new Int32Array(b.length);
  sortByAlign(order, align, core.fusedProducts);
  return { values, align, order };
}

/** An integer below 2^31 in magnitude, cut to 24 bits toward zero. */
export function toF32Bits(sum: number): number {
  const magnitude = sum < 0 ? -sum : sum;
  const extra = 8 - Math.clz32(magnitude);
  if (extra <= 0) return sum;
  const cut = (magnitude >>> extra) << extra;
  return sum < 0 ? -cut : cut;
}

/**
 * Sum of the terms codes[at + i stride] x[from + i], i < 8, in the units that `toUnits` makes, each
 * cut toward zero. Written out, because this is what a row spends its time in: a loop takes three
 * times as long.
 */
function eightTerms(
  codes: Uint8Array,
  at: number,
  stride: number,
  x: Float64Array,
  from: number,
  toUnits: number,
): number {
  const half = at + 4 * stride;
  return (
    ((codes[at] * (x[from] * toUnits)) | 0) +
    ((codes[at + stride] * (x[from + 1] * toUnits)) | 0) +
    ((codes[at + 2 * stride] * (x[from + 2] * toUnits)) | 0) +
    ((codes[at + 3 * stride] * (x[from + 3] * toUnits)) | 0) +
    (((codes[half] * (x[from + 4] * toUnits)) | 0) +
      ((codes[half + stride] * (x[from + 5] * toUnits)) | 0) +
      ((codes[half + 2 * stride] * (x[from + 6] * toUnits)) | 0) +
      ((codes[half + 3 * stride] * (x[from + 7] * toUnits)) | 0))
  );
}

/** The same for the terms from `from` up to `to`; codes[base + i stride] goes with x[i]. */
export function cutTerms(
  codes: Uint8Array,
  base: number,
  stride: number,
  x: Float64Array,
  from: number,
  to: number,
  toUnits: number,
): number {
  let sum = 0;
  let i = from;
  for (; i + 8 <= to; i += 8) {
    sum = (sum + eightTerms(codes, base + i * stride, stride, x, i, toUnits)) | 0;
  }
  for (; i < to; i++) sum += (codes[base + i * stride] * (x[i] * toUnits)) | 0;
  return sum;
}

/**
 * Sum of codes[at + i] x_i over the channels [first, end) of an operand, in units of 2^-24 of what
 * the kernel sums.
 */
export function codeChain(
  { fraction, fusedProducts }: Core,
  codes: Uint8Array,
  at: number,
  { values, align, order }: CodeOperand,
  first: number,
  end: number,
): number {
  let sum = 0; // an integer of at most 24 bits, times 2^unit
  let unit = 0;
  for (let from = first; from < end; from += fusedProducts) {
    const to = Math.min(from + fusedProducts, end);
    let e = sum === 0 ? zeroExponent : 31 - Math.clz32(Math.abs(sum)) + unit;
    for (let i = from; i < to; i++) {
      const channel = order[i];
      if (codes[at + channel] === 0) continue;
      if (align[channel] > e) e = align[channel];
      break;
    }
    if (e === zeroExponent) continue;
    const own = e - fraction;
    const toUnits = power(-own);
    const next = (sum * power(unit - own)) | 0;
    sum = toF32Bits(next + cutTerms(codes, at, 1, values, from, to, toUnits));
    unit = own;
  }
  return sum * power(unit);
}
