/**
 * Values to codes, scales and zeros, bit for bit as the spec in scheme.ts says.
 *
 * Every step of the spec is one binary32 operation. Here it is a float64 operation followed by one
 * Math.fround, and that is the correctly rounded binary32 result although it rounds twice: for
 * operands of p = 24 bits, +, -, * and / rounded to at least 2p + 2 = 50 bits and then to p bits
 * give the same as one rounding (Figueroa, "When is double rounding innocuous?", SIGNUM 30(3),
 * 1995; float64 has 53). No binary32 result here is subnormal: x has binary16 values, so a
 * difference is 0 or at least 2^-24, the inverse lies in [3 / 131008, 15 * 2^24], a product is 0 or
 * above 2^-41.
 *
 * Not here: dequantisation (cache.ts) and the place of a code in a word (pack.ts).
 */
import { f16FromF64, f16Values } from './format.js';
import type { Scheme } from './scheme.js';

/** Codes of a block of tokens with their parameters (binary16 bits). */
export interface Quantized {
  /** (tokens, headSize) */
  readonly codes: Uint8Array;
  /** K: (tokens / group, headSize); V: (tokens, headSize / group) */
  readonly scales: Uint16Array;
  /** as scales */
  readonly zeros: Uint16Array;
}

/** Codes and parameters of one group: elements first, first + stride, ... of x. */
function quantizeGroup(
  x: Uint16Array,
  first: number,
  stride: number,
  group: number,
  levels: number,
  out: Quantized,
  parameter: number,
): void {
  const { fround } = Math;
  const end = first + stride * group;
  let max = Number.NEGATIVE_INFINITY;
  let min = Number.POSITIVE_INFINITY;
  for (let i = first; i < end; i += stride) {
    const value = f16Values[x[i]];
    if (value > max) max = value;
    // Comparison skips a NaN; the second clause puts -0 below +0, as PTX min.f32 does.
    if (value < min || (value === 0 && min === 0 && Object.is(value, -0))) min = value;
  }
  const range = fround(max - min);
  const inverse = range > 0 ? fround(levels / range) : 0;
  for (let i = first; i < end; i += stride) {
    const y = fround(fround(f16Values[x[i]] - min) * inverse);
    // y + 0.5 is exact in float64 wherever it matters, so floor rounds half away from zero for
    // y >= 0; a NaN fails the comparison and gives code 0.
    const code = y > 0 ? Math.floor(y + 0.5) : 0;
    out.codes[i] = Math.min(code, levels);
  }
  out.scales[parameter] = inverse === 0 ? 0 : f16FromF64(fround(1 / inverse));
  out.zeros[parameter] = f16FromF64(min);
}

/** Zero codes and parameters for `tokens` tokens. */
export function emptyQuantized(tokens: number, headSize: number, group: number): Quantized {
  const parameters = (tokens * headSize) / group;
  return {
    codes: new Uint8Array(tokens * headSize),
    scales: new Uint16Array(parameters),
    zeros: new Uint16Array(parameters),
  };
}

/** K, x (tokens, headSize): groups of `group` tokens of one channel; tokens % group is 0. */
export function quantizeK(
  scheme: Scheme,
  x: Uint16Array,
  tokens: number,
  headSize: number,
): Quantized {
  const { bits, group } = scheme;
  const out = emptyQuantized(tokens, headSize, group);
  for (let g = 0; g < tokens / group; g++) {
    for (let d = 0; d < headSize; d++) {
      const first = g * group * headSize + d;
      quantizeGroup(x, first, headSize, group, 2 ** bits - 1, out, g * headSize + d);
    }
  }
  return out;
}

/** V, x (tokens, headSize): groups of `group` channels of one token; headSize % group is 0. */
export function quantizeV(
  scheme: Scheme,
  x: Uint16Array,
  tokens: number,
  headSize: number,
): Quantized {
  const { bits, group } = scheme;
  const out = emptyQuantized(tokens, headSize, group);
  for (let parameter = 0; parameter < (tokens * headSize) / group; parameter++) {
    quantizeGroup(x, parameter * group, 1, group, 2 ** bits - 1, out, parameter);
  }
  return out;
}
