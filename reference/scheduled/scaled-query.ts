/**
 * The query row as a folding kernel multiplies it: q^ = q 2^-shift in fp16, and the factors that
 * turn its sums into base-2 exponents.
 *
 *   fp16  scaled up until its largest element reaches 2^14, never down
 *   bf16  the largest element in [2^14, 2^15), as long as it is at least 2^-112
 * top is the exponent of the largest q^, 14 or 15, also where q is 0.
 * k2 = RN32(scale RN32(log2 e)).
 */
import { type ElementType, exponentOf, f16Round } from '../format.js';
import { power } from './code-chain.js';

const { fround } = Math;

export interface ScaledQuery {
  /** q as it came, and q^; (headSize) */
  readonly own: Float64Array;
  readonly hat: Float64Array;
  readonly top: number;
  readonly k2: number;
  /** RN32(k2 2^shift): of sums of q^ times rows, zeros or ones */
  readonly zeroFactor: number;
  /** RN32(k2 2^(shift + top)): of sums of q' times codes */
  readonly codeFactor: number;
}

const clamp = (x: number, low: number, high: number) => Math.min(Math.max(x, low), high);

export function scaledQuery(scale: number, q: Float64Array, type: ElementType): ScaledQuery {
  const k2 = fround(fround(scale) * fround(Math.LOG2E));
  let largest = 0;
  for (const x of q) largest = Math.max(largest, Math.abs(x));
  const isBf16 = type === 'bf16';
  const e = clamp(exponentOf(largest), isBf16 ? -112 : -24, isBf16 ? 127 : 15); // -1023 of zero
  const shift = isBf16 ? e - 14 : Math.min(e - 14, 0);
  return {
    own: q,
    hat: q.map((x) => f16Round(fround(x * power(-shift)))),
    top: e - shift,
    k2,
    zeroFactor: fround(k2 * power(shift)),
    codeFactor: fround(k2 * power(e)),
  };
}
