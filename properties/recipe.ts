// Recipe: how one tensor of a Case comes to be. Three kinds:
//   drawn    a named distribution with a seed; value = 2^scale * (offset + x), rounded to fp16
//   code-lm  a slice of the KV cache of a small trained model (corpus/code-lm)
//   literal  the fp16 values themselves
//
// All drawn recipes have the same four fields, so that a stored recipe can shrink from one
// distribution to a simpler one without a translation. What each name means is in distributions.ts.
// This file says what a well-formed recipe is; it draws nothing.

/** Drawn distributions, simplest first: shrinking walks towards the front. */
export const DISTRIBUTIONS = [
  'zero',
  'constant',
  'alternating',
  'ramp-head',
  'ramp-channel',
  'ramp-token',
  'graded',
  'repeated-token',
  'uniform',
  'normal',
  'counter-graded',
  'paired-records',
  'opposite-records',
  'grid',
  'ties',
  'uneven-ties',
  'subnormal',
  'near-overflow',
  'heavy-tail',
  'all-exponents',
  'signed-zero',
  'outlier-channels',
  'sink',
  'needle',
  'huge-token',
  'outlier-group',
  'extremes',
  'patchwork',
  'one-sided',
  'binades',
  'non-finite',
  'non-finite-groups',
  'non-finite-last',
] as const;

export type Distribution = (typeof DISTRIBUTIONS)[number];

/** Whether a recipe of this name may hold NaN and infinities. */
export function isNonFinite(name: Recipe['distribution']): boolean {
  return name.startsWith('non-finite');
}

export interface DrawnRecipe {
  readonly distribution: Distribution;
  /** uint32. */
  readonly seed: number;
  /** Exponent of the power of two that multiplies everything. */
  readonly scale: number;
  /** Integer added before scaling: moves the mean away from zero by that many units. */
  readonly offset: number;
}

export interface CodeLmRecipe {
  readonly distribution: 'code-lm';
  readonly layer: number;
  /** Position of the slice in the stored sequence; the slice wraps around at its end. */
  readonly firstToken: number;
}

export interface LiteralRecipe {
  readonly distribution: 'literal';
  /** Base64 of the little-endian fp16 values, in the tensor's order. */
  readonly f16: string;
}

export type Recipe = DrawnRecipe | CodeLmRecipe | LiteralRecipe;

export const SEED_MAX = 0xffffffff;
/** 2^-24 is the smallest fp16 subnormal; 2^15 the largest power of two in fp16. */
export const SCALE_MIN = -24;
export const SCALE_MAX = 15;
/** Beyond 2048 units fp16 cannot tell neighbouring units apart. */
export const OFFSET_MAX = 2048;
/** corpus/code-lm: 6 layers; K and V of 4096 tokens. */
export const CODE_LM_LAYERS = 6;
export const CODE_LM_TOKENS = 4096;

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
const DIGIT = new Map([...ALPHABET].map((letter, digit) => [letter.charCodeAt(0), digit]));

/** Characters of the base64 text that holds `values` fp16 values. */
export function base64Length(values: number): number {
  return 4 * Math.ceil((2 * values) / 3);
}

/**
 * The values of a literal, or null unless `text` is canonical base64 of exactly `values` values.
 */
export function decodeF16(text: string, values: number): Uint16Array | null {
  const bytes = 2 * values;
  if (text.length !== base64Length(values)) return null;
  const padding = (3 - (bytes % 3)) % 3;
  const digits = text.length - padding;
  const out = new Uint16Array(values);
  let bits = 0;
  let held = 0;
  let byte = 0;
  for (let i = 0; i < digits; i++) {
    const digit = DIGIT.get(text.charCodeAt(i));
    if (digit === undefined) return null;
    bits = ((bits << 6) | digit) & 0xffff;
    held += 6;
    if (held < 8) continue;
    held -= 8;
    out[byte >> 1] |= ((bits >> held) & 0xff) << (8 * (byte & 1));
    byte += 1;
  }
  // Bits behind the last byte must be zero, or two texts would mean the same tensor.
  if ((bits & ((1 << held) - 1)) !== 0) return null;
  for (let i = digits; i < text.length; i++) if (text[i] !== '=') return null;
  return out;
}

/** The text that decodeF16 reads back. */
export function encodeF16(values: Uint16Array): string {
  let text = '';
  const bytes = 2 * values.length;
  const byteAt = (i: number) => (i < bytes ? (values[i >> 1] >> (8 * (i & 1))) & 0xff : 0);
  for (let i = 0; i < bytes; i += 3) {
    const word = (byteAt(i) << 16) | (byteAt(i + 1) << 8) | byteAt(i + 2);
    const kept = Math.min(4, bytes - i + 1);
    for (let j = 0; j < 4; j++) text += j < kept ? ALPHABET[(word >> (18 - 6 * j)) & 63] : '=';
  }
  return text;
}
