/**
 * What a kernel can get wrong in q.k, before the softmax: term by term for one token group or row.
 *
 * All numbers here are in units of q.k. README.md, section "Bounds", has the symbols; the terms are
 *   shift  known: delta_i = RN11(q_i s_i) - q_i s_i, so that codes meet q' instead of q s
 *   slack  q' that may fall below the fp16 normals, where the shift is not known
 *   chain  truncation and rounding of the tensor core (chainError)
 * and `magnitude`, to which the roundings in f32 that follow are relative.
 *
 * chainError is the lemma of one fused sum (mma.ts) applied to T = ceil(products / n) of them in a
 * chain, in any order of products. A term is truncated to a multiple of the quantum 2^(E - F), so
 * it loses less than that, and nothing if its lowest bit is not below. E never exceeds the exponent
 * of the largest product or partial sum. T - 1 sums truncate the accumulator that they start from,
 * and T round toward zero, by less than an ulp of a partial sum.
 */
import { type Arithmetic, eta, f16NormalMin, u16 } from './arithmetic.js';
import { exponentOf, powerOfTwo, significand11 } from './format.js';

export interface GroupTerms {
  /** slack + chain, for every token of the group */
  readonly error: number;
  /** at least |sum of codes q'| + |sum of zeros q| of every token */
  readonly magnitude: number;
}

/**
 * Partial sums in f32 exceed the exact ones by less than this, as long as chains err below 2^-8.
 */
const drift = 1 + 2 ** -8;

/**
 * 2^exponent, but never out of the float64 range: the error of an empty sum is 0 for all purposes.
 */
function power(exponent: number): number {
  return powerOfTwo(Math.max(exponent, -900));
}

/** Exponent E that no fused sum of a chain exceeds. */
function chainExponent(product: number, partialSum: number): number {
  return Math.max(exponentOf(product), exponentOf(drift * partialSum));
}

/**
 * Error of a chain of fused sums. products: terms of the chain; truncated: how many of them can
 * lose bits; exponent: E; partialSum: bound of the magnitude of every exact partial sum, in any
 * order.
 */
export function chainError(
  a: Arithmetic,
  products: number,
  truncated: number,
  exponent: number,
  partialSum: number,
): number {
  const groups = Math.ceil(products / a.fusedProducts);
  return (
    (truncated + groups - 1) * power(exponent - a.fraction) +
    groups * power(exponentOf(drift * partialSum) - 23)
  );
}

/**
 * A chain about whose products only the sum of magnitudes (subnormals raised to 2^-14) is known.
 */
export function plainChainError(a: Arithmetic, products: number, magnitudes: number): number {
  return chainError(a, products, products, exponentOf(drift * magnitudes), magnitudes);
}

/** Largest |q| of a row cut down to a power of two, as its exponent; -24 for a zero row. */
export function rowExponent(q: Float64Array): number {
  let max = 0;
  for (let i = 0; i < q.length; i++) max = Math.max(max, Math.abs(q[i]));
  return Math.max(exponentOf(max), -24);
}

/**
 * Sums of q_i z_i over the zeros z of a group: a chain of its own, with q kept at full precision.
 */
function zeroChain(
  a: Arithmetic,
  q: Float64Array,
  qExponent: number,
  zeros: Float64Array,
): { error: number; sum: number } {
  // A folding kernel scales q up to 2^14, or not at all; q then aligns at 2^-28 of it or at 2^-14.
  const qFloor = powerOfTwo(Math.min(-14, qExponent - 28));
  let positive = 0;
  let negative = 0;
  let aligned = 0;
  for (let i = 0; i < q.length; i++) {
    const product = q[i] * zeros[i];
    if (product === 0) continue;
    if (product > 0) positive += product;
    else negative -= product;
    const raised = Math.max(Math.abs(q[i]), qFloor) * Math.max(Math.abs(zeros[i]), f16NormalMin);
    aligned = Math.max(aligned, raised);
  }
  const sum = Math.max(positive, negative);
  const exponent = chainExponent(aligned, sum);
  return { error: chainError(a, q.length, q.length, exponent, sum), sum };
}

/** The largest field weight w of arithmetic.ts, log2: bytes are masked out where they lie. */
export function fieldWeightMax(bits: number): number {
  if (bits === 8) return 0;
  return bits === 4 ? 4 : 6;
}

/**
 * A group of tokens of a folding kernel. q, scales, zeros (headSize); scaleExponent: that of the
 * largest scale, at least -24; shift (headSize) receives delta.
 */
export function foldedGroup(
  a: Arithmetic,
  q: Float64Array,
  qExponent: number,
  scales: Float64Array,
  scaleExponent: number,
  zeros: Float64Array,
  bits: number,
  shift: Float64Array,
): GroupTerms {
  const codeMax = 2 ** bits - 1;
  const weight = fieldWeightMax(bits);
  const unit = powerOfTwo(qExponent + scaleExponent - 14); // 1 / f: q' counts this much of q.k
  const normalMin = unit * powerOfTwo(weight - 14); // below, RN16(.. 2^-w) may be subnormal
  const lost = unit * eta * (1 + powerOfTwo(weight)); // by the two roundings, if both are
  let positive = 0;
  let negative = 0;
  let largest = 0;
  let slack = 0;
  for (let i = 0; i < q.length; i++) {
    const product = q[i] * scales[i];
    const rounded = significand11(product);
    const magnitude = Math.abs(rounded);
    if (magnitude >= normalMin) shift[i] = rounded - product;
    else {
      shift[i] = 0;
      if (product !== 0) slack += u16 * magnitude + lost;
    }
    if (rounded > 0) positive += rounded;
    else negative -= rounded;
    if (magnitude > largest) largest = magnitude;
  }
  const sum = codeMax * (Math.max(positive, negative) + slack);
  // Codes count 2^-24 each and align at exponent -14, 10 above; q' aligns at -14 or above.
  const codesAlign = 1024 * Math.max(largest, unit * f16NormalMin);
  const exponent = chainExponent(codesAlign, sum);
  // q' has 11 bits: the lowest bit of code times q' is that of q'.
  const exactFrom = power(exponent - a.fraction + 10);
  let truncated = 0;
  for (let i = 0; i < q.length; i++) {
    const magnitude = Math.abs(q[i] * scales[i] + shift[i]);
    if (magnitude !== 0 && (magnitude < exactFrom || magnitude < normalMin)) truncated++;
  }
  const zero = zeroChain(a, q, qExponent, zeros);
  const codes = chainError(a, q.length, truncated, exponent, sum);
  return { error: codeMax * slack + codes + zero.error, magnitude: sum + zero.sum };
}

/** A group of tokens of a dequantising kernel: the largest |k| of each channel stands for all. */
export function dequantizedGroup(
  a: Arithmetic,
  q: Float64Array,
  scales: Float64Array,
  zeros: Float64Array,
  bits: number,
): GroupTerms {
  const codeMax = 2 ** bits - 1;
  let magnitudes = 0;
  for (let i = 0; i < q.length; i++) {
    if (q[i] === 0) continue;
    const key = Math.max(Math.abs(zeros[i]), Math.abs(zeros[i] + codeMax * scales[i]));
    // One rounding of the key to fp16, or two of a kernel that multiplies and adds.
    const keyMax = key + u16 * (key + codeMax * scales[i]) * (1 + u16) + 2 * eta;
    magnitudes += Math.max(Math.abs(q[i]), f16NormalMin) * Math.max(keyMax, f16NormalMin);
  }
  return { error: plainChainError(a, q.length, magnitudes), magnitude: magnitudes };
}
