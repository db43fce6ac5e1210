/**
 * Scores and outputs over rows of 16-bit numbers on the tensor core: fused sums (mma.ts) in which
 * one operand may be known to lie in an interval only.
 *
 * A product aligns at the sum of its operands' exponents, each at least that of the smallest normal
 * number of the type. Truncation toward zero is monotone in a term, and cutting at a lower exponent
 * never makes a term smaller in magnitude. So with the exponent E of the fused sum in [low, high]
 * the sum is at least the sum of lower ends, positive ones cut at high and negative ones at low,
 * and at most the reverse; the rounding toward zero of the result is monotone too.
 */
import { normalMin } from '../arithmetic.js';
import { type ElementType, elementValues, exponentOf } from '../format.js';
import { f32TowardZero } from '../mma.js';
import { type Core, power, zeroExponent } from './code-chain.js';

/** Exponent by which a word of a type aligns, (65536); zeroExponent for zero. */
function alignments(type: ElementType): Int16Array {
  const values = elementValues(type);
  const least = exponentOf(normalMin(type));
  return Int16Array.from(values, (x) => (x === 0 ? zeroExponent : Math.max(exponentOf(x), least)));
}

const made: Partial<Record<ElementType, Int16Array>> = {};

export function alignmentsOf(type: ElementType): Int16Array {
  made[type] ??= alignments(type);
  return made[type];
}

/** The tensor core for operands of a type: E is at least `floor`. */
export interface RowCore extends Core {
  readonly exponentFloor: number;
}

/** Exponent of an f32 accumulator. */
function accumulatorExponent(x: number): number {
  return x === 0 ? zeroExponent : Math.max(exponentOf(x), -126);
}

/**
 * Sum of q times a row, in the order of `channels`. row: words; q, qAlign by channel.
 */
export function rowChain(
  core: RowCore,
  type: ElementType,
  row: Uint16Array,
  q: Float64Array,
  qAlign: Int32Array,
  channels: Int32Array,
): number {
  const values = elementValues(type);
  const align = alignmentsOf(type);
  let sum = 0;
  for (let from = 0; from < channels.length; from += core.fusedProducts) {
    const to = Math.min(from + core.fusedProducts, channels.length);
    let e = accumulatorExponent(sum);
    for (let i = from; i < to; i++) {
      const d = channels[i];
      e = Math.max(e, align[row[d]] + qAlign[d]); // below the floor if one is zero
    }
    e = Math.max(e, core.exponentFloor);
    const toUnits = power(core.fraction - e);
    let next = Math.trunc(sum * toUnits);
    for (let i = from; i < to; i++) {
      const d = channels[i];
      next += Math.trunc(values[row[d]] * q[d] * toUnits);
    }
    sum = f32TowardZero(next * power(e - core.fraction));
    if (sum === 0) sum = 0; // never -0
  }
  return sum;
}

/** Weights of the tokens of one fused sum, in kernel units: [low, high] and how they align. */
export interface WeightRange {
  readonly low: Float64Array;
  readonly high: Float64Array;
  readonly lowAlign: Int32Array;
  readonly highAlign: Int32Array;
}

/**
 * One fused sum of weights [first, end) times words[base + t stride], on top of an accumulator in
 * [ends[0], ends[1]], which is replaced. All in units of the kernel.
 */
export function addRowProducts(
  core: RowCore,
  type: ElementType,
  words: Uint16Array,
  base: number,
  stride: number,
  w: WeightRange,
  first: number,
  end: number,
  ends: Float64Array,
): void {
  const values = elementValues(type);
  const align = alignmentsOf(type);
  let low = accumulatorExponent(Math.min(Math.abs(ends[0]), Math.abs(ends[1])));
  let high = accumulatorExponent(Math.max(Math.abs(ends[0]), Math.abs(ends[1])));
  if (ends[0] * ends[1] < 0) low = zeroExponent; // zero lies between
  for (let t = first; t < end; t++) {
    const own = align[words[base + t * stride]];
    low = Math.max(low, w.lowAlign[t] + own);
    high = Math.max(high, w.highAlign[t] + own);
  }
  high = Math.max(high, core.exponentFloor);
  low = Math.max(low, core.exponentFloor);
  const [fine, coarse] = [power(core.fraction - low), power(core.fraction - high)];
  const [fromFine, fromCoarse] = [power(low - core.fraction), power(high - core.fraction)];
  const least = (x: number) =>
    x >= 0 ? Math.trunc(x * coarse) * fromCoarse : Math.trunc(x * fine) * fromFine;
  const most = (x: number) =>
    x >= 0 ? Math.trunc(x * fine) * fromFine : Math.trunc(x * coarse) * fromCoarse;
  let lowest = least(ends[0]);
  let highest = most(ends[1]);
  let magnitude = 0;
  for (let t = first; t < end; t++) {
    const v = values[words[base + t * stride]];
    const [a, b] = v >= 0 ? [w.low[t] * v, w.high[t] * v] : [w.high[t] * v, w.low[t] * v];
    lowest += least(a);
    highest += most(b);
    magnitude += Math.abs(a) + Math.abs(b);
  }
  // Terms cut at one exponent add exactly in float64, terms cut at two may not.
  const own = low === high ? 0 : 2 ** -46 * (magnitude + Math.abs(lowest) + Math.abs(highest));
  ends[0] = f32TowardZero(lowest - own);
  ends[1] = f32TowardZero(highest + own);
}
