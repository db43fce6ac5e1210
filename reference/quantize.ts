/**
 * Values to codes, scales and zeros, bit for bit as the spec in scheme.ts says.
 *
 * Every step of the spec is one binary32 operation. Here it is a float64 operation followed by one
 * Math.fround, and that is the correctly rounded binary32 result although it rounds twice: for
 * operands of p = 24 bits, +, -, * and / rounded to at least 2p + 2 = 50 bits and then to p bits
 * give the same as one rounding (Figueroa, "When is double rounding innocuous?", SIGNUM 30(3),
 * 1995; float64 has 53). For binary16 no binary32 result is subnormal: a difference is 0 or at
 * least 2^-24, the inverse lies in [3 / 131008, 255 * 2^24], a product is 0 or above 2^-41. For
 * bfloat16 some are: a product is exact in float64, a difference of two 8-bit significands is exact
 * or so far from a tie that no second rounding moves it, and a quotient of a number below 2^8 and
 * one of 24 bits cannot come within 2^-53 of a tie of fewer bits without being one.
 *
 * Not here: dequantisation (cache.ts) and the place of a code in a word (pack.ts).
 */
import { type ElementType, elementValues, f16FromF64 } from './format.js';
import { channelGroup, recordTokens, type Scheme } from './scheme.js';

/** Codes of a block of tokens with their parameters (binary16 bits). */
export interface Quantized {
  /** (tokens, headSize) */
  readonly codes: Uint8Array;
  /** K per channel: (tokens / group, headSize); per token: (tokens, headSize / channelGroup) */
  readonly scales: Uint16Array;
  /** as scales */
  readonly zeros: Uint16Array;
}

/** Codes and parameters of one group: elements first, first + stride, ... of x. */
function quantizeGroup(
  values: Float64Array,
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
    const value = values[x[i]];
    if (value > max) max = value;
    // Comparison skips a NaN; the second clause puts -0 below +0, as PTX min.f32 does.
    if (value < min || (min === 0 && Object.is(value, -0))) min = value;
  }
  const range = fround(max - min);
  const inverse = range > 0 ? fround(levels / range) : 0;
  for (let i = first; i < end; i += stride) {
    const y = fround(fround(values[x[i]] - min) * inverse);
    // y + 0.5 is exact in float64 wherever it matters, so floor rounds half away from zero for
    // y >= 0; a NaN is stored as code 0.
    out.codes[i] = Math.min(Math.floor(y + 0.5), levels);
  }
  out.scales[parameter] = inverse === 0 ? 0 : f16FromF64(fround(1 / inverse));
  out.zeros[parameter] = f16FromF64(min);
}

/** Zero codes and `parameters` of each kind for `tokens` tokens. */
export function emptyQuantized(tokens: number, headSize: number, parameters: number): Quantized {
  return {
    codes: new Uint8Array(tokens * headSize),
    scales: new Uint16Array(parameters),
    zeros: new Uint16Array(parameters),
  };
}

/** Scales (or zeros) of `tokens` tokens of K and of V, tokens a multiple of the group. */
export function parameterCounts(scheme: Scheme, tokens: number, headSize: number) {
  const perToken = (tokens * headSize) / channelGroup(scheme, headSize);
  return {
    k: scheme.kAxis === 'token' ? perToken : (tokens * headSize) / scheme.group,
    v: perToken,
  };
}

/** K, x (tokens, headSize); per channel tokens % group is 0. */
export function quantizeK(
  scheme: Scheme,
  x: Uint16Array,
  tokens: number,
  headSize: number,
  type: ElementType = 'fp16',
): Quantized {
  if (scheme.kAxis === 'token') return quantizeV(scheme, x, tokens, headSize, type);
  const { bits, group } = scheme;
  const out = emptyQuantized(tokens, headSize, (tokens * headSize) / group);
  const values = elementValues(type);
  for (let g = 0; g < tokens / group; g++) {
    for (let d = 0; d < headSize; d++) {
      const first = g * group * headSize + d;
      quantizeGroup(values, x, first, headSize, group, 2 ** bits - 1, out, g * headSize + d);
    }
  }
  return out;
}

/** V, x (tokens, headSize): groups of channelGroup channels of one token. */
export function quantizeV(
  scheme: Scheme,
  x: Uint16Array,
  tokens: number,
  headSize: number,
  type: ElementType = 'fp16',
): Quantized {
  const group = channelGroup(scheme, headSize);
  const parameters = (tokens * headSize) / group;
  const out = emptyQuantized(tokens, headSize, parameters);
  const values = elementValues(type);
  for (let parameter = 0; parameter < parameters; parameter++) {
    const first = parameter * group;
    quantizeGroup(values, x, first, 1, group, 2 ** scheme.bits - 1, out, parameter);
  }
  return out;
}

/** Codes and parameters of one record of 128 tokens of one KV head. */
export interface QuantizedRecord {
  readonly k: Quantized;
  readonly v: Quantized;
}

/** k, v (128, headSize). */
export function quantizeRecord(
  scheme: Scheme,
  k: Uint16Array,
  v: Uint16Array,
  headSize: number,
  type: ElementType = 'fp16',
): QuantizedRecord {
  return {
    k: quantizeK(scheme, k, recordTokens, headSize, type),
    v: quantizeV(scheme, v, recordTokens, headSize, type),
  };
}
