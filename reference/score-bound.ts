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
 *
 * K per channel and K per token are in key-groups.ts; both are made of what is here.
 */
import { type Arithmetic, u } from './arithmetic.js';
import { type ElementType, exponentOf, powerOfTwo } from './format.js';

/** One query row of a head. */
export interface Query {
  /** (headSize) */
  readonly q: Float64Array;
  readonly type: ElementType;
  /** |q|, raised to the smallest normal number of its type */
  readonly magnitudes: Float64Array;
  /** exponent of the largest |q|, at least that of the smallest number of its type */
  readonly exponent: number;
  /** magnitude at which the smallest of the scaled-up q^ align, in units of q */
  readonly smallest: number;
  /** elements below it may be lost when a bf16 row becomes q^; 0 for fp16 */
  readonly lostBelow: number;
}

/**
 * A folding kernel scales fp16 rows up to 2^14, or not at all: q then aligns at 2^-28 of its
 * largest or at 2^-14. It scales bf16 rows to 2^7 at least.
 */
export function queryOf(q: Float64Array, type: ElementType, magnitudes: Float64Array): Query {
  let max = 0;
  for (let i = 0; i < q.length; i++) max = Math.max(max, Math.abs(q[i]));
  const isBf16 = type === 'bf16';
  const exponent = Math.max(exponentOf(max), isBf16 ? -133 : -24);
  return {
    ...{ q, type, magnitudes, exponent },
    smallest: powerOfTwo(isBf16 ? exponent - 21 : Math.min(-14, exponent - 28)),
    lostBelow: isBf16 ? powerOfTwo(exponent - 24) : 0,
  };
}

/**
 * Partial sums in f32 exceed the exact ones by less than this, as long as chains err below 2^-8.
 */
const drift = 1 + 2 ** -8;

/**
 * 2^exponent, but never out of the float64 range: the error of an empty sum is 0 for all purposes.
 */
export function power(exponent: number): number {
  return powerOfTwo(Math.max(exponent, -900));
}

/** Exponent E that no fused sum of a chain exceeds. */
export function chainExponent(product: number, partialSum: number): number {
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
 * A chain about whose products only the sum of magnitudes (subnormals raised to the smallest normal
 * number) is known.
 */
export function plainChainError(a: Arithmetic, products: number, magnitudes: number): number {
  return chainError(a, products, products, exponentOf(drift * magnitudes), magnitudes);
}

/** A sum of `count` numbers by the tensor core (times 1) or one after another in f32. */
export function sumError(
  a: Arithmetic,
  count: number,
  aligned: number,
  partialSum: number,
): number {
  const chain = chainError(a, count, count, chainExponent(aligned, partialSum), partialSum);
  return Math.max(chain, count * u * drift * partialSum);
}
