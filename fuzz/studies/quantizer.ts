// quantizer.ts - what a tensor becomes when a cache of few bits has held it: codes, scales and
// zeros are made and undone at once.
//
// Asymmetric, half away from zero, is bit for bit the arithmetic of reference/scheme.ts (a test
// compares them), for any width from 1 to 8 bits, on either axis. Beside it stand the variants that
// the studies compare: symmetric (scale only), other rounding rules. Scales and zeros are binary16
// throughout. 16 bits: the values as they are.
//
// No bytes and no layout: the studies ask what is lost, not where it lies.

import { f16FromF64, f16Values } from '../../reference/format.js';

/** 'channel': a group runs over tokens of one channel; 'token': over channels of one token. */
export type Axis = 'channel' | 'token';

/**
 * half-away, half-even: to the nearest code. down: to the code below, as a truncating kernel.
 * stochastic: up with the probability of the fraction, from a seeded stream.
 */
export const ROUNDINGS = ['half-away', 'half-even', 'down', 'stochastic'] as const;
export type Rounding = (typeof ROUNDINGS)[number];

export interface Quantizer {
  /** 1 to 8, or 16. */
  readonly bits: number;
  readonly axis: Axis;
  /** Elements that share a scale. */
  readonly group: number;
  readonly symmetric: boolean;
  readonly rounding: Rounding;
  /** Of stochastic rounding. */
  readonly seed: number;
}

export function plainQuantizer(bits: number, axis: Axis, group: number): Quantizer {
  return { bits, axis, group, symmetric: false, rounding: 'half-away', seed: 0 };
}

/** Bits of a value with its share of scale and zero. */
export function bitsPerValue({ bits, group, symmetric }: Quantizer): number {
  return bits === 16 ? 16 : bits + (symmetric ? 16 : 32) / group;
}

/** A seeded stream of numbers in [0, 1): splitmix32. */
function fractions(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let z = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return ((z ^ (z >>> 15)) >>> 0) / 0x100000000;
  };
}

/** Math.floor(y + 0.5) rounds half up, which for y >= 0 is half away from zero. */
function rounder({ rounding, seed }: Quantizer): (y: number) => number {
  if (rounding === 'half-away') return (y) => (y < 0 ? -Math.floor(0.5 - y) : Math.floor(y + 0.5));
  if (rounding === 'down') return Math.floor;
  if (rounding === 'half-even') {
    return (y) => {
      const below = Math.floor(y);
      const over = y - below;
      return over < 0.5 || (over === 0.5 && below % 2 === 0) ? below : below + 1;
    };
  }
  const next = fractions(seed);
  return (y) => Math.floor(y + next());
}

type Values = Float32Array | Float64Array;

/**
 * x (tokens, headSize), values of binary16, to what the cache gives back, into `out`. Groups along
 * an axis: the last one may be short.
 */
export function throughCache(
  q: Quantizer,
  x: Values,
  tokens: number,
  headSize: number,
  out: Values,
): void {
  if (q.bits === 16) {
    out.set(x);
    return;
  }
  const round = rounder(q);
  const one = q.symmetric ? symmetricGroup : asymmetricGroup;
  if (q.axis === 'token') {
    for (let t = 0; t < tokens; t++) {
      const end = (t + 1) * headSize;
      for (let first = t * headSize; first < end; first += q.group) {
        one(q.bits, round, x, out, first, 1, Math.min(first + q.group, end));
      }
    }
    return;
  }
  for (let g = 0; g < tokens; g += q.group) {
    const end = Math.min(g + q.group, tokens) * headSize;
    for (let d = 0; d < headSize; d++) {
      one(q.bits, round, x, out, g * headSize + d, headSize, end);
    }
  }
}

/** reference/scheme.ts, `steps`; see quantize.ts there for why one Math.fround a step is enough. */
function asymmetricGroup(
  bits: number,
  round: (y: number) => number,
  x: Values,
  out: Values,
  first: number,
  stride: number,
  end: number,
): void {
  const { fround } = Math;
  const levels = 2 ** bits - 1;
  let max = Number.NEGATIVE_INFINITY;
  let min = Number.POSITIVE_INFINITY;
  for (let i = first; i < end; i += stride) {
    if (x[i] > max) max = x[i];
    if (x[i] < min) min = x[i];
  }
  const range = fround(max - min);
  const inverse = range > 0 ? fround(levels / range) : 0;
  const scale = inverse === 0 ? 0 : f16Values[f16FromF64(fround(1 / inverse))];
  const zero = f16Values[f16FromF64(min)];
  for (let i = first; i < end; i += stride) {
    const y = fround(fround(x[i] - min) * inverse);
    out[i] = (y > 0 ? Math.min(round(y), levels) : 0) * scale + zero;
  }
}

/** Codes -L..L with L = 2^(bits - 1) - 1; one bit: the signs, with the mean magnitude as scale. */
function symmetricGroup(
  bits: number,
  round: (y: number) => number,
  x: Values,
  out: Values,
  first: number,
  stride: number,
  end: number,
): void {
  const { fround } = Math;
  const levels = Math.max(1, 2 ** (bits - 1) - 1);
  let largest = 0;
  let sum = 0;
  for (let i = first; i < end; i += stride) {
    const magnitude = Math.abs(x[i]);
    if (magnitude > largest) largest = magnitude;
    sum += magnitude;
  }
  if (bits === 1) {
    const scale = f16Values[f16FromF64(sum / ((end - first) / stride))];
    for (let i = first; i < end; i += stride) out[i] = x[i] < 0 ? -scale : scale;
    return;
  }
  const inverse = largest > 0 ? fround(levels / largest) : 0;
  const scale = inverse === 0 ? 0 : f16Values[f16FromF64(fround(1 / inverse))];
  for (let i = first; i < end; i += stride) {
    const code = round(fround(x[i] * inverse));
    out[i] = Math.max(-levels, Math.min(code, levels)) * scale;
  }
}
