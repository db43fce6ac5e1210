/**
 * BitDecoding k-channel: K in groups of tokens of one channel, V in groups of channels of one
 * token, 4 or 2 bits, as its packing kernel writes them (sources in bitdecoding-arithmetic.ts).
 *
 * Shapes of one KV head, with B tokens to a block (128 at 4 bits, 256 at 2) and P = B / group:
 *   K words   uint16 (tokens bits / 16, 128). Word 32 b + p of channel d, field j:
 *               token B b + 32 j + p
 *   K params  half2 (tokens / group, 128); each row of a block's P: 64 scales, then 64 zeros.
 *             Channel 16 i + 8 hi + 2 c + lo, group g of its block: half `lo` of
 *               row P b + j mod P, column 8 i + 4 floor(j / P) + c, j = 2 g + hi
 *   V words, V params: bitdecoding-arithmetic.ts
 * Release builds compile groups of 128 and 32; 64 is the same arithmetic and the same formulas.
 */
import {
  bitdecodingBlocks,
  blockTokens,
  fieldPlace,
  rowPlace,
  valueParameterPlace,
} from './bitdecoding-arithmetic.js';
import { defineFormat } from './define-format.js';
import type { FormatSpec, HeadTensor, Place } from './format-spec.js';

function keyPlace(t: HeadTensor, token: number, channel: number): Place {
  const block = blockTokens(t.bits);
  const inBlock = token % block;
  const row = Math.floor(token / block) * 32 + (inBlock % 32);
  return fieldPlace(t.bits, row * t.headSize + channel, Math.floor(inBlock / 32));
}

function keyParameterPlace(t: HeadTensor, index: number, zero: boolean): Place {
  const groups = blockTokens(t.bits) / (t.group as number);
  const channel = index % t.headSize;
  const group = Math.floor(index / t.headSize);
  const [i, hi, c, lo] = [channel >> 4, (channel >> 3) & 1, (channel >> 1) & 3, channel & 1];
  const j = 2 * (group % groups) + hi;
  const row = Math.floor(group / groups) * groups + (j % groups);
  const column = (zero ? 64 : 0) + 8 * i + 4 * Math.floor(j / groups) + c;
  return { array: 'params', byte: 4 * (row * t.headSize + column) + 2 * lo, shift: 0 };
}

function parameterPlace(t: HeadTensor, index: number, zero: boolean): Place {
  return t.tensor === 'k' ? keyParameterPlace(t, index, zero) : valueParameterPlace(t, index, zero);
}

export const bitdecodingKChannel: FormatSpec = defineFormat({
  ...bitdecodingBlocks,
  format: 'bitdecoding-k-channel',
  verified:
    'vectors of the original on a GPU: corpus/vectors/formats/bitdecoding.json; of V at 2 bits ' +
    'it keeps half of the channels',
  axis: {
    k: 'group consecutive tokens of one channel',
    v: 'group consecutive channels of one token',
  },
  axisOf: { k: 'channel', v: 'token' },
  map: 'field j of word p is K token 32 j + p of a block, V channel 32 j + p (2 bits: 16 j + p)',
  codePlace: (t, token, channel) =>
    t.tensor === 'k' ? keyPlace(t, token, channel) : rowPlace(t, token, channel),
  scalePlace: (t, index) => parameterPlace(t, index, false),
  zeroPlace: (t, index) => parameterPlace(t, index, true),
});
