/**
 * The rows that a kernel really multiplies, next to the exact ones of cache.ts: what the shadow of
 * row-weights.ts is made of. Which rows depends on how the kernel uses the cache (arithmetic.ts).
 */
import type { Operands } from './arithmetic.js';
import type { RowRoom } from './block-rows.js';
import type { HeadCache } from './cache.js';
import { type ElementType, elementRound, f16Values } from './format.js';
import type { Quantized } from './quantize.js';
import { channelGroup } from './scheme.js';

/**
 * Rows for the second dot product of a block of packed tokens, (count, headSize):
 *   folded       codes, to be multiplied with the shift of q' (K per channel only)
 *   else         rounded key less exact key, to be multiplied with q
 * room: the exact keys of the same tokens, and their codes.
 */
export function keyShadow(
  operands: Operands,
  head: HeadCache,
  first: number,
  room: RowRoom,
  out: Float64Array,
): void {
  const { headSize, k } = head;
  const { rows, codes, math, scales, zeros } = room;
  if (operands === 'folded') {
    const count = out.length / headSize;
    scales.fill(1, 0, count);
    zeros.fill(0, 0, count);
    math.scaleByGroup(codes, scales, zeros, out, count, headSize);
    return;
  }
  if (head.scheme.kAxis === 'token') roundedPerToken(operands, head, k, first, out);
  else roundedPerChannel(operands, head, first, out);
  for (let i = 0; i < out.length; i++) out[i] -= rows[i];
}

/** Keys per channel, rounded: 2^bits roundings for a channel and group instead of one a token. */
function roundedPerChannel(
  operands: Operands,
  head: HeadCache,
  first: number,
  out: Float64Array,
): void {
  const { headSize, k, type } = head;
  const { group, bits } = head.scheme;
  const count = out.length / headSize;
  const levels = 2 ** bits;
  const table = new Float64Array(levels * headSize);
  for (let t = 0; t < count; t++) {
    const parameters = Math.floor((first + t) / group) * headSize;
    const newGroup = t === 0 || (first + t) % group === 0;
    for (let d = 0; d < headSize && newGroup; d++) {
      const scale = f16Values[k.scales[parameters + d]];
      const zero = f16Values[k.zeros[parameters + d]];
      for (let code = 0; code < levels; code++) {
        table[d * levels + code] = dequantize(operands, type, code, scale, zero);
      }
    }
    for (let d = 0; d < headSize; d++) {
      out[t * headSize + d] = table[d * levels + k.codes[(first + t) * headSize + d]];
    }
  }
}

/** code * scale + zero in the type of the problem, in one or two roundings. */
function dequantize(
  operands: Operands,
  type: ElementType,
  code: number,
  scale: number,
  zero: number,
): number {
  const product = code * scale;
  const first = operands === 'dequantized-twice' ? elementRound(type, product) : product;
  return elementRound(type, first + zero);
}

/** Rounded rows of packed tokens whose parameters belong to a token and a group of channels. */
function roundedPerToken(
  operands: Operands,
  head: HeadCache,
  stored: Quantized,
  first: number,
  out: Float64Array,
): void {
  const { headSize, type } = head;
  const group = channelGroup(head.scheme, headSize);
  for (let i = 0; i < out.length; i += group) {
    const from = first * headSize + i;
    const scale = f16Values[stored.scales[from / group]];
    const zero = f16Values[stored.zeros[from / group]];
    for (let d = 0; d < group; d++) {
      out[i + d] = dequantize(operands, type, stored.codes[from + d], scale, zero);
    }
  }
}

/** Values as the kernel rounds them, for a block of packed tokens, (count, headSize). */
export function roundedValues(
  operands: Operands,
  head: HeadCache,
  first: number,
  out: Float64Array,
): void {
  roundedPerToken(operands, head, head.v, first, out);
}

/**
 * |x|, but at least the smallest normal number unless 0: the exponent by which a tensor core
 * aligns.
 */
export function alignedMagnitudes(x: Float64Array, out: Float64Array, smallest: number): void {
  for (let i = 0; i < x.length; i++) {
    const magnitude = Math.abs(x[i]);
    out[i] = magnitude === 0 ? 0 : Math.max(magnitude, smallest);
  }
}
