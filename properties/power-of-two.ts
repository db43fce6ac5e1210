// Power of two: fp16 tensors multiplied by 2^exponent without any rounding, for relations that are
// exact.

import { f16FromF64, f16Values } from '../reference/format.js';

/** Exponent field of fp16 bits: 0 for zero and subnormals, 31 for Inf and NaN. */
export const exponentOf = (bits: number): number => (bits >> 10) & 31;

/** Zero or normal and finite. */
export function isPlain(bits: number): boolean {
  const exponent = exponentOf(bits);
  return (exponent > 0 && exponent < 31) || (bits & 0x7fff) === 0;
}

/** x * 2^exponent, or null unless every product is an fp16 number; Inf and NaN stay. */
export function scaledExactly(x: Uint16Array, exponent: number): Uint16Array | null {
  const factor = 2 ** exponent;
  const out = new Uint16Array(x.length);
  for (let i = 0; i < x.length; i++) {
    const bits = x[i];
    if (exponentOf(bits) === 31) {
      out[i] = bits;
      continue;
    }
    const product = f16Values[bits] * factor;
    const stored = f16FromF64(product);
    if (f16Values[stored] !== product) return null;
    out[i] = stored;
  }
  return out;
}
