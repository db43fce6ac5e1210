// Power of two: tensors multiplied by 2^exponent without any rounding, for relations that are
// exact.

import { type ElementType, elementFromF64, elementValues } from '../reference/format.js';

/** Bits of the fraction, and the exponent field that means Inf or NaN. */
const FIELDS = { fp16: { fraction: 10, top: 31 }, bf16: { fraction: 7, top: 255 } } as const;

/** Exponent field of a word: 0 for zero and subnormals, the largest for Inf and NaN. */
export function exponentField(word: number, type: ElementType = 'fp16'): number {
  const { fraction, top } = FIELDS[type];
  return (word >> fraction) & top;
}

/** Zero or normal and finite. */
export function isPlain(word: number, type: ElementType = 'fp16'): boolean {
  const exponent = exponentField(word, type);
  return (exponent > 0 && exponent < FIELDS[type].top) || (word & 0x7fff) === 0;
}

/**
 * The exponents with which the largest element reaches the last powers of two of the type, and the
 * smallest that is not zero its first normal one: where kernels clamp exponents. Of plain elements.
 */
export function endExponents(x: Uint16Array, type: ElementType = 'fp16'): readonly number[] {
  let [least, most] = [Number.POSITIVE_INFINITY, 0];
  for (const word of x) {
    const field = exponentField(word, type);
    if (field === 0) continue;
    least = Math.min(least, field);
    most = Math.max(most, field);
  }
  return most === 0 ? [] : [FIELDS[type].top - 1 - most, 1 - least];
}

/** x * 2^exponent, or null unless every product is a number of the type; Inf and NaN stay. */
export function scaledExactly(
  x: Uint16Array,
  exponent: number,
  type: ElementType = 'fp16',
): Uint16Array | null {
  const factor = 2 ** exponent;
  const values = elementValues(type);
  const out = new Uint16Array(x.length);
  for (let i = 0; i < x.length; i++) {
    if (exponentField(x[i], type) === FIELDS[type].top) {
      out[i] = x[i];
      continue;
    }
    const product = values[x[i]] * factor;
    const stored = elementFromF64(type, product);
    if (values[stored] !== product) return null;
    out[i] = stored;
  }
  return out;
}
