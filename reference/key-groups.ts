/**
 * Errors of scores over groups of quantised keys (score-bound.ts has the terms): K per channel, for
 * the tokens of one group, and K per token, for one group of channels and any token.
 *
 * Folded, per channel: q' times codes, and q times zeros. Folded, per token: q^ times codes times
 * the token's scale, and the sum of q^ times its zero; q^ is rounded only where a field weight
 * makes it subnormal. Codes count 2^-24 each and align at exponent -14, 10 above; a field weight
 * moves codes up and q' down, so that it never raises their product's exponent.
 */
import { type Arithmetic, eta, f16NormalMin, normalMin, roundingUnit, u16 } from './arithmetic.js';
import { powerOfTwo, significand11 } from './format.js';
import {
  chainError,
  chainExponent,
  plainChainError,
  power,
  type Query,
  sumError,
} from './score-bound.js';

export interface GroupTerms {
  /** slack + chain, for every token of the group */
  readonly error: number;
  /** at least |sum of codes q'| + |sum of zeros q| of every token */
  readonly magnitude: number;
}

/** The largest field weight w of arithmetic.ts, log2: bytes are masked out where they lie. */
export function fieldWeightMax(bits: number): number {
  if (bits === 8) return 0;
  return bits === 4 ? 4 : 6;
}

/**
 * Sums of q_i z_i over the zeros z of a group: a chain of its own, with q kept at full precision.
 */
function zeroChain(
  a: Arithmetic,
  { q, smallest }: Query,
  zeros: Float64Array,
): { error: number; sum: number } {
  let positive = 0;
  let negative = 0;
  let aligned = 0;
  for (let i = 0; i < q.length; i++) {
    const product = q[i] * zeros[i];
    if (product === 0) continue;
    if (product > 0) positive += product;
    else negative -= product;
    const raised = Math.max(Math.abs(q[i]), smallest) * Math.max(Math.abs(zeros[i]), f16NormalMin);
    aligned = Math.max(aligned, raised);
  }
  const sum = Math.max(positive, negative);
  const exponent = chainExponent(aligned, sum);
  return { error: chainError(a, q.length, q.length, exponent, sum), sum };
}

/**
 * A group of tokens of a folding kernel. scales, zeros (headSize); scaleExponent: that of the
 * largest scale, at least -24; shift (headSize) receives delta.
 */
export function foldedGroup(
  a: Arithmetic,
  query: Query,
  scales: Float64Array,
  scaleExponent: number,
  zeros: Float64Array,
  bits: number,
  shift: Float64Array,
): GroupTerms {
  const { q, lostBelow } = query;
  const codeMax = 2 ** bits - 1;
  const weight = fieldWeightMax(bits);
  const unit = powerOfTwo(query.exponent + scaleExponent - 14); // 1 / f: q' counts this much of q.k
  const normal = unit * powerOfTwo(weight - 14); // below, RN16(.. 2^-w) may be subnormal
  const rounded2 = unit * eta * (1 + powerOfTwo(weight)); // lost by the two roundings, if both are
  let positive = 0;
  let negative = 0;
  let largest = 0;
  let slack = 0;
  let lost = 0;
  for (let i = 0; i < q.length; i++) {
    const product = q[i] * scales[i];
    const rounded = significand11(product);
    const magnitude = Math.abs(rounded);
    if (magnitude >= normal) shift[i] = rounded - product;
    else {
      shift[i] = 0;
      if (product !== 0) slack += u16 * magnitude + rounded2;
    }
    if (rounded > 0) positive += rounded;
    else negative -= rounded;
    if (magnitude > largest) largest = magnitude;
    const own = Math.abs(q[i]);
    if (own < lostBelow) lost += own * (Math.abs(zeros[i]) + codeMax * scales[i]);
  }
  const sum = codeMax * (Math.max(positive, negative) + slack);
  const codesAlign = 1024 * Math.max(largest, unit * f16NormalMin);
  const exponent = chainExponent(codesAlign, sum);
  // q' has 11 bits: the lowest bit of code times q' is that of q'.
  const exactFrom = power(exponent - a.fraction + 10);
  let truncated = 0;
  for (let i = 0; i < q.length; i++) {
    const magnitude = Math.abs(q[i] * scales[i] + shift[i]);
    if (magnitude !== 0 && (magnitude < exactFrom || magnitude < normal)) truncated++;
  }
  const zero = zeroChain(a, query, zeros);
  const codes = chainError(a, q.length, truncated, exponent, sum);
  return { error: codeMax * slack + codes + zero.error + lost, magnitude: sum + zero.sum + lost };
}

/** A group of tokens of a dequantising kernel: the largest |k| of each channel stands for all. */
export function dequantizedGroup(
  a: Arithmetic,
  { q, type, magnitudes }: Query,
  scales: Float64Array,
  zeros: Float64Array,
  bits: number,
): GroupTerms {
  const codeMax = 2 ** bits - 1;
  const [unit, smallest] = [roundingUnit(type), normalMin(type)];
  let sum = 0;
  for (let i = 0; i < q.length; i++) {
    const key = Math.max(Math.abs(zeros[i]), Math.abs(zeros[i] + codeMax * scales[i]));
    // One rounding of the key, or two of a kernel that multiplies and adds.
    const subnormal = 2 * unit * smallest;
    const keyMax = key + unit * (key + codeMax * scales[i]) * (1 + unit) + subnormal;
    sum += magnitudes[i] * Math.max(keyMax, smallest);
  }
  return { error: plainChainError(a, q.length, sum), magnitude: sum };
}

/** What one group of channels adds for a token with scale s and zero z (K per token, folded). */
export interface ChannelGroupTerms {
  /** error of the code sum: times s */
  readonly codeError: number;
  /** error of the sum of q^: times |z| */
  readonly zeroError: number;
  /** bounds of the code sum and of the sum of q: times s, times |z| */
  readonly codeSum: number;
  readonly zeroSum: number;
  /** sum of |q| that may be lost: times |z| + codeMax s */
  readonly lost: number;
}

/** Channels [first, end) of a query. */
export function channelGroupTerms(
  a: Arithmetic,
  query: Query,
  first: number,
  end: number,
  bits: number,
): ChannelGroupTerms {
  const { q, smallest, lostBelow } = query;
  const codeMax = 2 ** bits - 1;
  const weight = fieldWeightMax(bits);
  const unit = powerOfTwo(query.exponent - 14);
  const normal = unit * powerOfTwo(weight - 14); // below, q^ 2^-w may be subnormal
  let positive = 0;
  let negative = 0;
  let largest = 0;
  let slack = 0;
  let lost = 0;
  for (let i = first; i < end; i++) {
    const magnitude = Math.abs(q[i]);
    if (q[i] > 0) positive += magnitude;
    else negative += magnitude;
    if (magnitude > largest) largest = magnitude;
    if (magnitude === 0) continue;
    if (magnitude < normal) slack += unit * eta * powerOfTwo(weight);
    if (magnitude < lostBelow) lost += magnitude;
  }
  const partial = Math.max(positive, negative);
  const sum = codeMax * (partial + slack);
  const aligned = Math.max(largest, smallest);
  const exponent = chainExponent(1024 * aligned, sum);
  const exactFrom = power(exponent - a.fraction + 10);
  let truncated = 0;
  for (let i = first; i < end; i++) {
    const magnitude = Math.abs(q[i]);
    if (magnitude !== 0 && (magnitude < exactFrom || magnitude < normal)) truncated++;
  }
  const count = end - first;
  return {
    codeError: codeMax * slack + chainError(a, count, truncated, exponent, sum),
    zeroError: sumError(a, count, aligned, partial),
    ...{ codeSum: sum, zeroSum: partial, lost },
  };
}
