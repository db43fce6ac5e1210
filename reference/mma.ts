/**
 * The tensor core's dot product, bit for bit: one fused sum and a table of parameters.
 *
 * One fused group takes an accumulator c and n products a_k b_k (n, F: table) and returns the next
 *   c: 1. a product has exponent e(a) + e(b), not normalised; a subnormal operand has the exponent
 *      of the smallest normal number (-14 for binary16, -126 for bfloat16 and the f32 accumulator).
 *   2. E = the largest exponent among nonzero products and a nonzero c, but not below the floor.
 *   3. every term is truncated toward zero to a multiple of 2^(E - F), then all are added exactly.
 *      c is aligned together with the products, not added later.
 *   4. the sum is rounded toward zero to f32 (overflow gives Inf), or to nearest even to f16.
 *      A sum that is or becomes zero is +0. NaN, Inf - Inf and 0 * Inf give NaN.
 * A longer dot product is a chain of groups in order of k; within a group the order is immaterial.
 *
 * Provenance: the rules are those of MMA-Sim (Xie et al., arXiv:2511.10909) and of Khattak &
 * Mikaitis (arXiv:2512.07004); where the two differ (zero products, floors) an H100 decided, 0
 * mismatches in 9.4e8 outputs (driver 580, CUDA 13.0, 2026-11-24). sm_80 and sm_89 rest on their
 * published captures from A100, A2, L40S and RTX 1000 Ada, which are ordinary values.
 *
 * Everything is exact in float64 without BigInt: a product has at most 22 bits, a truncated term is
 * an integer below 2^(F + 2), and 17 of them stay below 2^32. This file shares nothing with
 * native/mma, so that each can contradict the other.
 */
import { exponentOf, f16FromF64, f16Values, powerOfTwo } from './format.js';

export type Architecture = 'sm_80' | 'sm_89' | 'sm_90';
export type OperandFormat = 'f16' | 'bf16';
export type AccumulatorFormat = 'f32' | 'f16';

export interface DotModel {
  /** F: bits kept below 2^E */
  readonly fraction: 24 | 25;
  /** n: products added in one fused sum */
  readonly fusedProducts: 8 | 16;
  /** E is at least this */
  readonly exponentFloor: number;
  /** exponent of a subnormal operand */
  readonly exponentMin: -14 | -126;
  readonly accumulator: AccumulatorFormat;
}

const shapes = {
  sm_80: { fraction: 24, fusedProducts: 8, floor: { f32: -132, f16: -20 } },
  sm_89: { fraction: 24, fusedProducts: 8, floor: { f32: -132, f16: -20 } },
  sm_90: { fraction: 25, fusedProducts: 16, floor: { f32: -133, f16: -21 } },
} as const;

/** Parameters of mma.m16n8k16 (and of wgmma on sm_90) for 16-bit operands. */
export function dotModel(
  architecture: Architecture,
  operands: OperandFormat = 'f16',
  accumulator: AccumulatorFormat = 'f32',
): DotModel {
  const { fraction, fusedProducts, floor } = shapes[architecture];
  return {
    ...{ fraction, fusedProducts, accumulator },
    exponentFloor: floor[accumulator],
    exponentMin: operands === 'f16' ? -14 : -126,
  };
}

const f32 = new Float32Array(1);
const f32Bits = new Uint32Array(f32.buffer);

/** x rounded toward zero to binary32; 2^128 and above become Inf, as the tensor core does it. */
export function f32TowardZero(x: number): number {
  if (Math.abs(x) >= 2 ** 128) return x * Number.POSITIVE_INFINITY;
  f32[0] = x;
  // Nearest may have gone up in magnitude (to Inf too); one step down in the bits goes back.
  if (Math.abs(f32[0]) > Math.abs(x)) f32Bits[0] -= 1;
  return f32[0];
}

/** Value of bfloat16 bits: the upper half of a binary32. */
export function f64FromBf16(bits: number): number {
  f32Bits[0] = bits << 16;
  return f32[0];
}

/** Exponent by which the tensor core aligns a finite nonzero operand. */
function alignment(x: number, exponentMin: number): number {
  return Math.max(exponentOf(x), exponentMin);
}

/**
 * One fused group: c + sum of a[k] b[k] for k in [first, end). Operands are values of the operand
 * format, c and the result values of the accumulator format.
 */
export function fusedSum(
  model: DotModel,
  c: number,
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  first: number,
  end: number,
): number {
  const { fraction, exponentMin } = model;
  const f32Out = model.accumulator === 'f32';
  let exponent = c === 0 ? Number.NEGATIVE_INFINITY : alignment(c, f32Out ? -126 : -14);
  let special = Number.isFinite(c) ? 0 : c;
  for (let k = first; k < end; k++) {
    const product = a[k] * b[k];
    if (!Number.isFinite(product)) special += product;
    else if (product !== 0) {
      const own = alignment(a[k], exponentMin) + alignment(b[k], exponentMin);
      if (own > exponent) exponent = own;
    }
  }
  // Inf and NaN follow IEEE addition: finite products of 16-bit operands never overflow float64.
  if (special !== 0) return special;
  exponent = Math.max(exponent, model.exponentFloor);
  const toUnits = powerOfTwo(fraction - exponent);
  let sum = Math.trunc(c * toUnits);
  for (let k = first; k < end; k++) sum += Math.trunc(a[k] * b[k] * toUnits);
  const exact = sum * powerOfTwo(exponent - fraction);
  const rounded = f32Out ? f32TowardZero(exact) : f16Values[f16FromF64(exact)];
  return rounded === 0 ? 0 : rounded;
}

/** A chain of fused groups over all k of a and b, starting from c. */
export function tensorDot(
  model: DotModel,
  c: number,
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  length: number = a.length,
): number {
  const n = model.fusedProducts;
  let sum = c;
  for (let first = 0; first < length; first += n) {
    sum = fusedSum(model, sum, a, b, first, Math.min(first + n, length));
  }
  return sum;
}
