/**
 * Scheme: which cache format, and the spec of that format as data.
 *
 * Formats disagree on rounding, zero points and degenerate groups (three rounding rules, four zero
 * conventions and three max == min behaviours among the systems that we compared), so each one is a
 * spec object and there is no shared "int4". quantize.ts implements a spec; this file states it.
 *
 * "bitdecoding" is BitDecoding's arithmetic, read from its csrc/bit_decode/src/include/qpack.h
 * (main, e829b5a) for K per channel; 8 bits, K per token and head sizes other than 128 are the same
 * arithmetic. Its release compiles groups of 128 and 32. Its cross-warp exchange of max and min
 * through fp16 is exact for fp16 input and therefore not visible in the spec.
 *
 * "fp16" keeps K and V as they came, 16-bit words of the problem's type: the baseline.
 */
import type { Problem } from './problem.js';

export type KeyAxis = 'channel' | 'token';

export interface Scheme {
  readonly format: 'bitdecoding' | 'fp16';
  /**
   * channel: K has one scale and zero for a channel of `group` consecutive tokens; token: for
   * `group` consecutive channels of a token, as V always has. fp16: channel, without a meaning.
   */
  readonly kAxis: KeyAxis;
  readonly bits: 2 | 4 | 8 | 16;
  /** elements that share a scale and a zero, at most; channels come in groups of min(group, D) */
  readonly group: 32 | 64 | 128 | 256;
}

/** Tokens of one packed record. The last tokens % 128 of a request stay as they came. */
export const recordTokens = 128;

/** Channels of V, or of K per token, that share a scale and a zero. */
export function channelGroup(scheme: Scheme, headSize: number): number {
  return Math.min(scheme.group, headSize);
}

/** Values are kept as they came: no codes, no parameters. */
export function isPlain(scheme: Scheme): boolean {
  return scheme.format === 'fp16';
}

/** The largest code of a grid that the format keeps exactly; of plain rows any small one does. */
export function gridCodeMax(scheme: Scheme): number {
  return isPlain(scheme) ? 15 : 2 ** scheme.bits - 1;
}

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
  bits: [4, 2, 8],
  groups: [128, 64, 32],
  headSizes: [128, 64, 256],
  axis: {
    k:
      'group consecutive tokens of one channel (per channel), or min(group, head size) ' +
      'consecutive channels of one token (per token; the group may be the whole head)',
    v: 'min(group, head size) consecutive channels of one token (per token)',
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
    x: 'binary16 or bfloat16, the type of the problem',
    'scale, zero': 'binary16 for either type of x, rounded once, to nearest even',
    'max, min, range, inverse, product': 'binary32, subnormals kept',
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
    'bfloat16, |min| >= 65520': 'zero is infinite in binary16: the group dequantises to no number',
    'bfloat16, range >= (2^bits - 1) * 65520': 'scale is infinite in binary16',
    'bfloat16, range beyond binary32': 'range Inf, inverse 0, scale 0, codes 0, zero -Inf',
    'bfloat16, (2^bits - 1) / range beyond binary32':
      'inverse Inf, scale 0; x == min gives NaN and with it code 0, any other x the largest code',
  },
  dequantized: 'code * scale + zero; exact here, see reference/cache.ts',
  residual: 'the last tokens % 128 tokens of a request are kept as they came',
};

/** What is wrong with a scheme for a problem, in one sentence, or null. */
export function schemeError(s: Scheme, p: Problem): string | null {
  if (s.format === 'fp16') return plainError(s, p);
  const spec = bitdecoding;
  if (s.format !== spec.format) {
    return `scheme.format: ${JSON.stringify(s.format)} is not "${spec.format}" or "fp16"`;
  }
  if (s.kAxis !== 'channel' && s.kAxis !== 'token') {
    return `scheme.kAxis: ${JSON.stringify(s.kAxis)} is not "channel" or "token"`;
  }
  if (!spec.bits.includes(s.bits)) return `scheme.bits: ${s.bits} is not one of ${spec.bits}`;
  const headError = headSizeError(p);
  if (headError) return headError;
  const isWholeHead = s.kAxis === 'token' && s.group === p.headSize;
  if (!spec.groups.includes(s.group) && !isWholeHead) {
    const whole = s.kAxis === 'token' ? `, or problem.headSize ${p.headSize}` : '';
    return `scheme.group: ${s.group} is not one of ${spec.groups}${whole}`;
  }
  return null;
}

function headSizeError(p: Problem): string | null {
  if (bitdecoding.headSizes.includes(p.headSize)) return null;
  return `problem.headSize: ${p.headSize} is not one of ${bitdecoding.headSizes}`;
}

/** The baseline has one scheme: its other fields have no meaning and therefore one value. */
function plainError(s: Scheme, p: Problem): string | null {
  if (s.kAxis !== 'channel') {
    return `scheme.kAxis: ${JSON.stringify(s.kAxis)} is not "channel", as format "fp16" requires`;
  }
  if (s.bits !== 16) return `scheme.bits: ${s.bits} is not 16, as format "fp16" requires`;
  if (s.group !== 128) return `scheme.group: ${s.group} is not 128, as format "fp16" requires`;
  return headSizeError(p);
}
