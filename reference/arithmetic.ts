/**
 * Arithmetic: what a kernel declares about its roundings, and the units that bounds are built from.
 *
 * A bound is a theorem only about kernels that keep the contract of their `operands`:
 *
 * folded       K and V stay codes; scales go into the other operand. With f a power of two such
 *              that the largest |q| of the row times the largest K scale of the token group, each
 *              cut down to a power of two, becomes at least 2^14:
 *                q' = RN16(RN16(f q s) 2^-w), w <= 6 (2 bits), 4 (4 bits) or 0 (8 bits),
 *                     codes as fp16 subnormals;
 *                score = fma(sum of codes q', k2 2^.., RN(sum of zeros q * k2 2^..)),
 *                        k2 = RN(scale log2 e);
 *                P' = RN16(RN(p s) 2^(b - w)), 2^b such that the largest p s so far is >= 2^14;
 *                sums of p and of p z in f32; fp16 tail rows as `dequantized` does it.
 *              K per token: no scale is folded. For each group G of channels, in order: code sums
 * of
 *                q^ times codes and sums of q^ by the tensor core, or the latter in f32; q^ is q
 *                times a power of two, times 2^-w for a field; then s_G (code sum) and z_G (sum of
 *                q^) with at most 4 f32 roundings for a group, and one to add a group.
 *              bf16: q^ is q times a power of two in fp16, exact but for elements below 2^-24 of
 *                the row's largest, which is 2^7 or more; tail rows of K are multiplied exactly as
 *                they came, tail rows of V with P of a relative error of 2^-11 in two terms.
 * dequantized  K and V become fp16 by one rounding of code * scale + zero (one fma); tensor-core
 *              products of q, K, P = RN16(p or p 2^b, b >= 0) and V.
 * dequantized-twice  the same with two roundings, one after * and one after +.
 * any          one of the three, it is not known which.
 *
 * In a problem of type bf16 the two dequantising kinds round to bf16 wherever fp16 is said. Records
 * of format "fp16" are tail rows to all of them: P = RN(p or p 2^b), tensor-core products.
 *
 * Common to all: f32 accumulators with the arithmetic of mma.ts in any order of products; weights
 * by ex2 of a difference to a running maximum, rescaled when it grows; partial results merged
 * likewise.
 */
import type { ElementType } from './format.js';
import type { RecordSchedule } from './scheduled/schedule.js';

export type Operands = 'folded' | 'dequantized' | 'dequantized-twice';

export interface Arithmetic {
  readonly operands: Operands | 'any';
  /** bits kept below the largest exponent of a fused sum, at least this many (mma.ts) */
  readonly fraction: 24 | 25;
  /** products of one fused sum, at least this many */
  readonly fusedProducts: 8 | 16;
  /** at least so many partial sums share the sum of weights of a row */
  readonly sumLanes: number;
  /** at least so many tokens lie between two rescales of a sum; 128 if folded, else 16 */
  readonly rescaleTokens?: number;
  /** of a folding kernel: the order of its sums, from which bound-l2.ts computes */
  readonly schedule?: RecordSchedule;
}

/** An arithmetic whose operands are known. */
export interface KnownArithmetic extends Arithmetic {
  readonly operands: Operands;
}

/** Nothing declared: sm_80's arithmetic is the widest, one sequential sum. */
export const anyArithmetic: Arithmetic = {
  operands: 'any',
  fraction: 24,
  fusedProducts: 8,
  sumLanes: 1,
};

/** Half an ulp of 1: relative error of one rounding to nearest in f32. */
export const u = 2 ** -24;
/** The same of f16. */
export const u16 = 2 ** -11;
/** Half of the f16 subnormal quantum; u16 times the smallest normal number 2^-14. */
export const eta = 2 ** -25;
export const f16NormalMin = 2 ** -14;

/** Relative error of one rounding to nearest in a type, for normal results. */
export function roundingUnit(type: ElementType): number {
  return type === 'bf16' ? 2 ** -8 : u16;
}

/** Smallest normal number of a type; subnormal operands align as if they were that large. */
export function normalMin(type: ElementType): number {
  return type === 'bf16' ? 2 ** -126 : f16NormalMin;
}

/**
 * Relative error of ex2.approx.ftz.f32, of every float in [-126, 0]: 2^-22.7 measured on an H100
 * 80GB HBM3 (driver 580, 2026-11-24) without exception; below -126 it gives 0, at 0 exactly 1.
 * Rounded up.
 */
export const ex2Error = 1.48e-7;

/**
 * Absolute error of a base-2 logarithm of the row sum: 2 ulp of the result, or of 1 if that is
 * larger. Covers the FMA polynomial of native/kernels/numerics.h and lg2.approx (2^-22.06, same
 * measurement).
 */
export function log2Error(value: number): number {
  return 2 ** -22 * Math.max(1, Math.abs(value));
}

/**
 * Largest constant for which a bound is given; beyond, a row is guarded (second orders take over).
 */
export const guardLimit = 0.1;

/** Everything that depends on the arithmetic and the length of a row only. */
export interface RowConstants {
  /** R: exponentials in the chain of rescales of one weight: records of a warp, warps, splits */
  readonly rescales: number;
  /** gamma_l: relative error of a sum of weights in f32, in lanes and merged */
  readonly sumError: number;
  /** gamma_m: of rescaling and merging outputs in f32 */
  readonly mergeError: number;
}

/**
 * One lane adds at most tokens / sumLanes weights. Cut into S splits that is tokens / (sumLanes S),
 * and S more to merge them: a convex function of S, at most tokens / sumLanes + 17 at both ends, S
 * = 1 and S = tokens / 128, for sumLanes from 1 to 128. 40 pays those 17, 3 shuffles, 16 warps, the
 * change of units and the addition of the zero part. Merging outputs takes at most tokens / 128
 * splits and the same 40. Splits without tokens add exact zeros.
 */
export function rowConstants(a: Arithmetic, tokens: number): RowConstants {
  const rescaleTokens = a.rescaleTokens ?? (a.operands === 'folded' ? 128 : 16);
  const rescales = Math.ceil(tokens / rescaleTokens) + 3;
  const gamma = (roundings: number) => (roundings * u) / (1 - roundings * u);
  return {
    rescales,
    sumError: gamma(Math.ceil(tokens / Math.min(a.sumLanes, 128)) + 40 + rescales),
    mergeError: gamma(Math.ceil(tokens / 128) + 40 + rescales),
  };
}
