/**
 * A decode kernel that dequantises to fp16 first, simulated for one query row: an FA2-like
 * schedule.
 *
 * Keys and values become fp16 by one rounding (one fma), or by two (multiply, then add); scores are
 * f32 sums of the tensor core; blocks of tokens update a running maximum; weights are
 * ex2(fma(s, c, -RN(m c))), rounded to fp16 for the product with V. Splits merge by log-sum-exps.
 */
import type { HeadCache } from '../cache.js';
import { type ElementType, elementRound, elementValues, f16Values } from '../format.js';
import { type DotModel, tensorDot } from '../mma.js';
import { channelGroup } from '../scheme.js';
import type { SimulatedRow } from './folded-kernel.js';
import { type Ex2, fma, fround } from './scalar.js';

export interface DequantizingSchedule {
  readonly model: DotModel;
  readonly ex2: Ex2;
  /** roundings of code * scale + zero */
  readonly roundings: 1 | 2;
  readonly blockTokens: number;
  readonly splits: number;
}

function dequantize(
  type: ElementType,
  roundings: 1 | 2,
  code: number,
  scale: number,
  zero: number,
): number {
  const product = roundings === 1 ? code * scale : elementRound(type, code * scale);
  return elementRound(type, product + zero);
}

/** Row of values of one token as they are multiplied, (headSize). */
function tokenRow(head: HeadCache, tensor: 'k' | 'v', token: number, roundings: 1 | 2): number[] {
  const { headSize, packed, type } = head;
  const group = channelGroup(head.scheme, headSize);
  const values = elementValues(type);
  const stored = head[tensor];
  const residual = tensor === 'k' ? head.kResidual : head.vResidual;
  return Array.from({ length: headSize }, (_, d) => {
    if (token >= packed) return values[residual[(token - packed) * headSize + d]];
    const parameter =
      tensor === 'k' && head.scheme.kAxis === 'channel'
        ? Math.floor(token / head.scheme.group) * headSize + d
        : Math.floor((token * headSize + d) / group);
    return dequantize(
      type,
      roundings,
      stored.codes[token * headSize + d],
      f16Values[stored.scales[parameter]],
      f16Values[stored.zeros[parameter]],
    );
  });
}

interface Part {
  /** natural log */
  lse: number;
  output: Float64Array;
}

/** Tokens [first, end), not empty. */
function attendSplit(
  schedule: DequantizingSchedule,
  head: HeadCache,
  c: number,
  q: Float64Array,
  channels: readonly number[],
  first: number,
  end: number,
): Part {
  const { ex2, roundings, blockTokens } = schedule;
  const isBf16 = head.type === 'bf16';
  const model: DotModel = isBf16 ? { ...schedule.model, exponentMin: -126 } : schedule.model;
  let max = Number.NEGATIVE_INFINITY;
  const sums = new Float64Array(4);
  const o = new Float64Array(channels.length);
  for (let block = first; block < end; block += blockTokens) {
    const count = Math.min(blockTokens, end - block);
    const scores = Array.from({ length: count }, (_, t) =>
      tensorDot(model, 0, tokenRow(head, 'k', block + t, roundings), q),
    );
    const newMax = Math.max(max, ...scores);
    const decay = max === Number.NEGATIVE_INFINITY ? 0 : ex2(fround(fround(max - newMax) * c));
    max = newMax;
    const shift = fround(max * c);
    const p = scores.map((s) => ex2(fma(s, c, -shift)));
    for (let i = 0; i < 4; i++) sums[i] = fround(sums[i] * decay);
    p.forEach((x, t) => {
      sums[t % 4] = fround(sums[t % 4] + x);
    });
    const operand = p.map((x) => elementRound(head.type, x));
    const values = p.map((_, t) => tokenRow(head, 'v', block + t, roundings));
    channels.forEach((d, i) => {
      const column = values.map((row) => row[d]);
      o[i] = tensorDot(model, fround(o[i] * decay), operand, column);
    });
  }
  const sum = fround(fround(sums[0] + sums[1]) + fround(sums[2] + sums[3]));
  const lse = fround(fround(fround(max * c) * fround(Math.LN2)) + fround(Math.log(sum)));
  return { lse, output: o.map((x) => fround(x / sum)) };
}

export function simulateDequantizing(
  schedule: DequantizingSchedule,
  head: HeadCache,
  scale: number,
  q: Float64Array,
  channels: readonly number[],
): SimulatedRow {
  const { ex2, splits, blockTokens } = schedule;
  const c = fround(fround(scale) * fround(Math.LOG2E));
  const blocks = Math.ceil(head.tokens / blockTokens);
  const parts: Part[] = [];
  for (let split = 0; split < splits; split++) {
    const first = Math.floor((blocks * split) / splits) * blockTokens;
    const end = Math.min(Math.floor((blocks * (split + 1)) / splits) * blockTokens, head.tokens);
    if (first < end) parts.push(attendSplit(schedule, head, c, q, channels, first, end));
  }
  const max = Math.max(...parts.map((part) => part.lse));
  let sum = 0;
  const o = new Float64Array(channels.length);
  for (const part of parts) {
    const weight = ex2(fround(fround(part.lse - max) * fround(Math.LOG2E)));
    sum = fround(sum + weight);
    for (let i = 0; i < o.length; i++) o[i] = fma(weight, part.output[i], o[i]);
  }
  return {
    output: o.map((x) => fround(x / sum)),
    lse: fround(max + fround(Math.log(sum))),
  };
}
