// cache-variant.ts - one way to hold K and V in few bits, as data, and what it makes of a sample.
//
// Two kinds: our own quantiser with every factor that the studies vary, and a format of another
// system by its name (reference/formats). Around both: the first `sinks` tokens and the last
// `residual` tokens may stay in fp16, and rows may be rotated before they are quantised.

import { f16FromF64, f16Round, f16Values } from '../../reference/format.js';
import { type CacheFormat, formatNamed, type HeadTensor } from '../../reference/index.js';
import type { HeadSample } from './attention-error.js';
import { rotateRows } from './hadamard.js';
import {
  type Axis,
  bitsPerValue,
  plainQuantizer,
  type Quantizer,
  type Rounding,
  throughCache,
} from './quantizer.js';

export interface CacheVariant {
  /** 'plain': the quantiser of quantizer.ts; else the name of a format of reference/formats. */
  readonly format: string;
  readonly kBits: number;
  readonly vBits: number;
  readonly kAxis: Axis | 'tensor';
  /** 0: one scale for all that the axis has (formats only). */
  readonly group: number;
  /** Of V; K has `group`. */
  readonly vGroup: number;
  readonly symmetric: boolean;
  readonly rounding: Rounding | 'own';
  /** Tokens at the start and at the end that stay in fp16. */
  readonly sinks: number;
  readonly residual: number;
  readonly rotation: 'none' | 'hadamard';
}

export const PLAIN: CacheVariant = {
  format: 'plain',
  kBits: 4,
  vBits: 4,
  kAxis: 'channel',
  group: 32,
  vGroup: 32,
  symmetric: false,
  rounding: 'half-away',
  sinks: 0,
  residual: 0,
  rotation: 'none',
};

export interface ChangedCache {
  readonly kind: 'cache';
  readonly k: Float32Array;
  readonly v: Float32Array;
  /** Mean of K and V over all tokens, with scales, zeros and what is kept in fp16. */
  readonly bitsPerValue: number;
}

export type VariantResult =
  | ChangedCache
  | { readonly kind: 'unsupported'; readonly reason: string };

export function throughVariant(variant: CacheVariant, sample: HeadSample): VariantResult {
  const { tokens, headSize } = sample;
  const first = Math.min(variant.sinks, tokens);
  const end = Math.max(first, tokens - variant.residual);
  const range = [first * headSize, end * headSize] as const;
  const made = quantizedPart(variant, sample, end - first, range);
  if (made.kind === 'unsupported') return made;
  const whole = (x: Float32Array, part: Float32Array) => {
    const out = x.slice();
    out.set(part, range[0]);
    return out;
  };
  const share = tokens === 0 ? 0 : (end - first) / tokens;
  return {
    kind: 'cache',
    k: whole(sample.k, made.k),
    v: whole(sample.v, made.v),
    bitsPerValue: share * made.bitsPerValue + (1 - share) * 16,
  };
}

function quantizedPart(
  variant: CacheVariant,
  sample: HeadSample,
  tokens: number,
  [from, to]: readonly [number, number],
): VariantResult {
  const k = sample.k.slice(from, to);
  const v = sample.v.slice(from, to);
  const { headSize } = sample;
  const rotated = variant.rotation === 'hadamard';
  if (rotated) for (const x of [k, v]) rotateF16(x, headSize);
  if (variant.format !== 'plain') return throughFormat(variant, tokens, headSize, k, v);
  const { symmetric, rounding, group, vGroup, kAxis } = variant;
  const seed = sample.tokens; // of stochastic rounding: any number, the same on every machine
  const rule: Partial<Quantizer> = {
    symmetric,
    rounding: rounding === 'own' ? 'half-away' : rounding,
    seed,
  };
  const axis: Axis = kAxis === 'tensor' ? 'token' : kAxis;
  const kQuantizer = { ...plainQuantizer(variant.kBits, axis, group), ...rule };
  const vQuantizer = { ...plainQuantizer(variant.vBits, 'token', vGroup), ...rule, seed: seed + 1 };
  throughCache(kQuantizer, k, tokens, headSize, k);
  throughCache(vQuantizer, v, tokens, headSize, v);
  if (rotated) for (const x of [k, v]) rotateRows(x, headSize);
  const bits = (bitsPerValue(kQuantizer) + bitsPerValue(vQuantizer)) / 2;
  return { kind: 'cache', k, v, bitsPerValue: bits };
}

/** A rotated cache is stored in fp16 before it is quantised, as a kernel would have it. */
function rotateF16(x: Float32Array, headSize: number): void {
  rotateRows(x, headSize);
  for (let i = 0; i < x.length; i++) x[i] = f16Values[f16FromF64(x[i])];
}

function throughFormat(
  { format: name, kBits, group }: CacheVariant,
  tokens: number,
  headSize: number,
  k: Float32Array,
  v: Float32Array,
): VariantResult {
  const format = formatNamed(name);
  if (format === null) return { kind: 'unsupported', reason: `there is no format "${name}"` };
  let bits = 0;
  const out: Float32Array[] = [];
  for (const [tensor, x] of [['k', k] as const, ['v', v] as const]) {
    const head: HeadTensor = {
      ...{ tensor, tokens, headSize, bits: kBits },
      group: group === 0 ? 'all' : group,
      input: 'f16',
      ...(format.given === undefined ? {} : { given: givenScale(format, x) }),
    };
    const error = format.error(head);
    if (error !== null) return { kind: 'unsupported', reason: `${name}: ${error}` };
    const codes = format.quantize(head, Float64Array.from(x));
    out.push(Float32Array.from(format.exact(head, codes)));
    const bytes = Object.values(format.arrays(head)).reduce((sum, n) => sum + n, 0);
    bits += x.length === 0 ? kBits : (8 * bytes) / x.length / 2;
  }
  return { kind: 'cache', k: out[0], v: out[1], bitsPerValue: bits };
}

/** Calibrated on the tensor itself: the largest magnitude becomes the largest code. */
function givenScale(format: CacheFormat, x: Float32Array): number {
  let largest = 0;
  for (const value of x) largest = Math.max(largest, Math.abs(value));
  const top = format.format === 'nvfp4' ? 6 * 448 : format.format.includes('e5m2') ? 57344 : 448;
  const scale = Math.fround(f16Round(largest) / top);
  return scale > 0 && Number.isFinite(scale) ? scale : 1;
}
