/**
 * The rows that a kernel really multiplies, next to the exact ones of cache.ts: what the shadow of
 * row-weights.ts is made of. Which rows depends on how the kernel uses the cache (arithmetic.ts).
 */
import { f16NormalMin, type Operands } from './arithmetic.js';
import type { HeadCache } from './cache.js';
import { f16Round, f16Values } from './format.js';

/**
 * Blocks of rows that a pass works in, (128, headSize) each; one set serves all heads of a call.
 */
export interface Scratch {
  readonly rows: Float64Array;
  readonly shadowRows: Float64Array;
  readonly magnitudes: Float64Array;
}

export function scratchRows(headSize: number): Scratch {
  const block = () => new Float64Array(128 * headSize);
  return { rows: block(), shadowRows: block(), magnitudes: block() };
}

/**
 * Rows for the second dot product of a block of packed tokens, (count, headSize):
 *   folded       codes, to be multiplied with the shift of q'
 *   else         fp16 key less exact key, to be multiplied with q
 * rows: the exact keys of the same tokens.
 */
export function keyShadow(
  operands: Operands,
  head: HeadCache,
  first: number,
  rows: Float64Array,
  out: Float64Array,
): void {
  const { headSize, k } = head;
  const { group, bits } = head.scheme;
  const count = rows.length / headSize;
  const codes = k.codes.subarray(first * headSize, (first + count) * headSize);
  if (operands === 'folded') {
    out.set(codes);
    return;
  }
  // One table of rounded values for each channel and group: 2^bits roundings instead of one a
  // token.
  const levels = 2 ** bits;
  const table = new Float64Array(levels * headSize);
  for (let t = 0; t < count; t++) {
    const parameters = Math.floor((first + t) / group) * headSize;
    const newGroup = (first + t) % group === 0;
    for (let d = 0; d < headSize; d++) {
      const scale = f16Values[k.scales[parameters + d]];
      const zero = f16Values[k.zeros[parameters + d]];
      if (newGroup) {
        for (let code = 0; code < levels; code++) {
          const key = code * scale + zero;
          table[d * levels + code] = dequantize(operands, code, scale, zero) - key;
        }
      }
      out[t * headSize + d] = table[d * levels + codes[t * headSize + d]];
    }
  }
}

/** code * scale + zero as fp16, in one or two roundings. */
function dequantize(operands: Operands, code: number, scale: number, zero: number): number {
  const product = code * scale;
  return f16Round((operands === 'dequantized-twice' ? f16Round(product) : product) + zero);
}

/** Values as fp16, for a block of packed tokens, (count, headSize). rows: the exact values. */
export function roundedValues(
  operands: Operands,
  head: HeadCache,
  first: number,
  rows: Float64Array,
  out: Float64Array,
): void {
  const { headSize, v } = head;
  const { group, bits } = head.scheme;
  const table = new Float64Array(2 ** bits);
  for (let i = 0; i < rows.length; i += group) {
    const parameter = (first * headSize + i) / group;
    const scale = f16Values[v.scales[parameter]];
    const zero = f16Values[v.zeros[parameter]];
    for (let code = 0; code < table.length; code++) {
      table[code] = dequantize(operands, code, scale, zero);
    }
    for (let d = 0; d < group; d++) out[i + d] = table[v.codes[first * headSize + i + d]];
  }
}

/**
 * |x|, but at least the smallest normal fp16 unless 0: the exponent by which a tensor core aligns.
 */
export function alignedMagnitudes(x: Float64Array, out: Float64Array): void {
  for (let i = 0; i < x.length; i++) {
    const magnitude = Math.abs(x[i]);
    out[i] = magnitude === 0 ? 0 : Math.max(magnitude, f16NormalMin);
  }
}
