/**
 * Scheme: which cache format, and the spec of that format as data.
 *
 * Formats disagree on rounding, zero points and degenerate groups (three rounding rules, four zero
 * conventions and three max == min behaviours among the systems that we compared), so each one is a
 * spec object and there is no shared "int4". quantize.ts implements a spec; this file states it.
 *
 * BitDecoding k-channel is read from its csrc/bit_decode/src/include/qpack.h (main, e829b5a). Its
 * release compiles groups of 128 and 32; 64 is the same arithmetic. Its cross-warp exchange of max
 * and min through fp16 is exact for fp16 input and therefore not visible in the spec.
 */
import type { Problem } from './problem.js';

export interface Scheme {
  readonly format: 'bitdecoding';
  /** K has one scale and zero for a channel of `group` consecutive tokens */
  readonly kAxis: 'channel';
  readonly bits: 4 | 2;
  /** elements that share a scale and a zero */
  readonly group: 128 | 64 | 32;
}

/** Tokens of one packed record. The last tokens % 128 of a request stay in fp16. */
export const recordTokens = 128;

export interface FormatSpec {
  readonly format: string;
  readonly bits: readonly number[];
  readonly groups: readonly number[];
  readonly headSizes: readonly number[];
  /** which elements share parameters */
  readonly axis: { readonly k: string; readonly v: string };
  /** every step is one IEEE binary32 operation, rounded to nearest even */
  readonly steps: readonly string[];
  readonly rounding: string;
  readonly zero: string;
  /** precision of each intermediate and stored value */
  readonly types: Readonly<Record<string, string>>;
  readonly degenerate: Readonly<Record<string, string>>;
  readonly dequantized: string;
  readonly residual: string;
}

export const bitdecoding: FormatSpec = {
  format: 'bitdecoding',
  bits: [4, 2],
  groups: [128, 64, 32],
  headSizes: [128],
  axis: {
    k: 'group consecutive tokens of one channel (per channel)',
    v: 'group consecutive channels of one token (per token)',
  },
  steps: [
    'max, min = over the group, a NaN loses, -0 < +0, starting from -Inf and +Inf',
    'range = max - min',
    'inverse = range > 0 ? (2^bits - 1) / range : 0',
    'code = clamp(round((x - min) * inverse), 0, 2^bits - 1)',
    'scale = inverse == 0 ? 0 : 1 / inverse',
    'zero = min',
  ],
  rounding: 'half away from zero, then clamp',
  zero: 'the minimum itself (asymmetric, in units of x)',
  types: {
    'x, scale, zero': 'binary16; scale and zero are rounded once, to nearest even',
    'max, min, range, inverse, product': 'binary32',
    code: 'unsigned, bits wide; made with the unrounded inverse, not with the stored scale',
  },
  degenerate: {
    'max == min': 'inverse 0, scale 0, codes 0: dequantises to min exactly',
    'range < (2^bits - 1) * 2^-25':
      'scale rounds to 0 although codes are not 0: dequantises to min',
    '+Inf in a group': 'inverse 0, scale 0, codes 0: dequantises to min, the Inf disappears',
    '-Inf in a group': 'inverse 0, scale 0, codes 0, zero -Inf: dequantises to -Inf',
    'NaN in a group': 'ignored by max and min; its own code is 0',
    'only NaN in a group': 'range -Inf, scale 0, codes 0, zero +Inf',
  },
  dequantized: 'code * scale + zero; exact here, see reference/cache.ts',
  residual: 'the last tokens % 128 tokens of a request are kept as they came, in binary16',
};

/** What is wrong with a scheme for a problem, in one sentence, or null. */
export function schemeError(s: Scheme, p: Problem): string | null {
  const spec = bitdecoding;
  if (s.format !== spec.format) {
    return `scheme.format: ${JSON.stringify(s.format)} is not "${spec.format}"`;
  }
  if (s.kAxis !== 'channel') {
    return `scheme.kAxis: ${JSON.stringify(s.kAxis)} is not "channel"`;
  }
  if (!spec.bits.includes(s.bits)) return `scheme.bits: ${s.bits} is not one of ${spec.bits}`;
  if (!spec.groups.includes(s.group)) {
    return `scheme.group: ${s.group} is not one of ${spec.groups}`;
  }
  if (!spec.headSizes.includes(p.headSize)) {
    return `problem.headSize: ${p.headSize} is not one of ${spec.headSizes}`;
  }
  if (p.headSize % s.group !== 0) {
    return `scheme.group: ${s.group} does not divide problem.headSize ${p.headSize}`;
  }
  return null;
}
