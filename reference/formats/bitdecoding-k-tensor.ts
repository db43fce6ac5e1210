/**
 * BitDecoding k-tensor: K and V in groups of channels of one token (sources and V in
 * bitdecoding-arithmetic.ts). The kernel exists in the source (quant_Ktensor, dequantize_Ktensor)
 * but no release dispatches to it.
 *
 * K at 4 bits, one KV head, blocks of 128 tokens; the code is packed along tokens and its words lie
 * where words of 4 channels would, because the register tile goes through a copy meant for the
 * transposed tensor. With channel = 16 k + c16, token = 128 b + 32 j + r:
 *   K words   uint16 (tokens, 32). Field j of
 *               row 128 b + 32 (k mod 4) + r, word 16 floor(k / 4) + c16
 *   K params  half2 (128 / group, tokens), P = 128 / group. Group g of that token: half n mod 2 of
 *               row 128 b + 32 floor(m / P) + r, column m mod P, n = P j + g, m = floor(n / 2)
 *             zeros 64 rows further on
 * dequantize_Ktensor reads words at 8 floor(k / 4) + k mod 4 + 4 b of a 256-token tile, which
 * agrees.
 *
 * 2 bits: quant_Ktensor has 4 bits only. Here 2-bit K is laid out like 2-bit V (words and params):
 * our choice, as the format has no original.
 */
import {
  bitdecodingBlocks,
  fieldPlace,
  rowPlace,
  valueParameterPlace,
} from './bitdecoding-arithmetic.js';
import { defineFormat } from './define-format.js';
import type { FormatSpec, HeadTensor, Place } from './format-spec.js';

function keyPlace(t: HeadTensor, token: number, channel: number): Place {
  const [j, r] = [(token & 127) >> 5, token & 31];
  const [k, inTile] = [channel >> 4, channel & 15];
  const row = (token & ~127) + 32 * (k % 4) + r;
  return fieldPlace(t.bits, row * 32 + 16 * (k >> 2) + inTile, j);
}

function keyParameterPlace(t: HeadTensor, index: number, zero: boolean): Place {
  const groups = t.headSize / (t.group as number);
  const token = Math.floor(index / groups);
  const [j, r] = [(token & 127) >> 5, token & 31];
  const n = groups * j + (index % groups);
  const m = n >> 1;
  const row = (token & ~127) + (zero ? 64 : 0) + 32 * Math.floor(m / groups) + r;
  const column = m % groups;
  return { array: 'params', byte: 4 * (column * t.tokens + row) + 2 * (n & 1), shift: 0 };
}

function isOriginalK(t: HeadTensor): boolean {
  return t.tensor === 'k' && t.bits === 4;
}

function parameterPlace(t: HeadTensor, index: number, zero: boolean): Place {
  return isOriginalK(t) ? keyParameterPlace(t, index, zero) : valueParameterPlace(t, index, zero);
}

export const bitdecodingKTensor: FormatSpec = defineFormat({
  ...bitdecodingBlocks,
  format: 'bitdecoding-k-tensor',
  verified:
    'vectors of the original on a GPU: corpus/vectors/formats/bitdecoding.json, from its kernel, ' +
    'which no release dispatches to; 2-bit K has no original',
  axis: {
    k: 'group consecutive channels of one token',
    v: 'group consecutive channels of one token',
  },
  axisOf: { k: 'token', v: 'token' },
  map: 'K: field j is token 32 j + r of its block; V: channel 32 j + p (16 j + p at 2 bits)',
  codePlace: (t, token, channel) =>
    isOriginalK(t) ? keyPlace(t, token, channel) : rowPlace(t, token, channel),
  scalePlace: (t, index) => parameterPlace(t, index, false),
  zeroPlace: (t, index) => parameterPlace(t, index, true),
});
