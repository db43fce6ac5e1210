/**
 * record128, the layout of this project's kernels (../pack.ts), as a FormatSpec: BitDecoding
 * k-channel's arithmetic in records of 128 tokens whose words are tensor-core fragments.
 *
 * One tensor's half of a record is a stage: words, then params. A cache holds, record by record,
 * K's stage and then V's; here stages of one tensor lie one after the other. The formulas are those
 * of the header of pack.ts, written again for one element at a time; the test holds the two
 * together.
 */
import { recordBytes } from '../pack.js';
import { recordTokens, type Scheme } from '../scheme.js';
import { bitdecodingArithmetic } from './bitdecoding-arithmetic.js';
import { defineFormat } from './define-format.js';
import type { FormatSpec, HeadTensor, Place } from './format-spec.js';

/** The Scheme that the rest of the reference knows this format by. */
export function schemeOf(t: HeadTensor): Scheme {
  const [bits, group] = [t.bits as Scheme['bits'], t.group as Scheme['group']];
  return { format: 'bitdecoding', kAxis: 'channel', bits, group };
}

function stageBytes(t: HeadTensor): number {
  return recordBytes(schemeOf(t)) / 2;
}

function codePlace(t: HeadTensor, token: number, channel: number): Place {
  const inRecord = token % recordTokens;
  const [row, col] = t.tensor === 'k' ? [inRecord, channel] : [channel, inRecord];
  const [mt, ks] = [row >> 4, col >> 4];
  const lane = 4 * (row & 7) + ((col & 7) >> 1);
  const [aRow, aCol, h] = [(row >> 3) & 1, (col >> 3) & 1, col & 1];
  const [word, bit] =
    t.bits === 4
      ? [((2 * mt + (ks >> 2)) * 32 + lane) * 4 + (ks & 3), 4 * aCol + 8 * aRow + 16 * h]
      : [(32 * mt + lane) * 4 + (ks >> 1), 4 * (ks & 1) + 2 * aCol + 8 * aRow + 16 * h];
  const stage = Math.floor(token / recordTokens) * stageBytes(t);
  return { array: 'stages', byte: stage + 4 * word + (bit >> 3), shift: bit & 7 };
}

function parameterPlace(t: HeadTensor, index: number, zero: boolean): Place {
  const group = t.group as number;
  const words = (recordTokens * t.headSize * t.bits) / 8;
  const place = (record: number, byte: number) => ({
    array: 'stages',
    byte: record * stageBytes(t) + words + byte,
    shift: 0,
  });
  if (t.tensor === 'k') {
    const [tokenGroup, channel] = [Math.floor(index / t.headSize), index % t.headSize];
    const groups = recordTokens / group;
    const [ks, r] = [channel >> 4, channel & 15];
    const half = (8 * ((r & 7) >> 1) + ks) * 4 + 2 * (r >> 3) + (r & 1);
    const byte = 512 * (tokenGroup % groups) + 2 * half + (zero ? 256 : 0);
    return place(Math.floor(tokenGroup / groups), byte);
  }
  const groups = t.headSize / group;
  const [token, g] = [Math.floor(index / groups), index % groups];
  const byte = 4 * (recordTokens * g + (token % recordTokens)) + (zero ? 2 : 0);
  return place(Math.floor(token / recordTokens), byte);
}

export const record128: FormatSpec = defineFormat({
  ...bitdecodingArithmetic,
  format: 'record128',
  source: 'reference/pack.ts, native/kernels',
  verified: 'the kernels of native/kernels write and read it',
  bits: [4, 2],
  axis: {
    k: 'group consecutive tokens of one channel',
    v: 'group consecutive channels of one token',
  },
  axisOf: { k: 'channel', v: 'token' },
  dequantized: 'code * scale + zero, exact: kernels fold scale and zero into the other operand',
  dequantizeCode: bitdecodingArithmetic.exactCode,
  residual: 'the last tokens mod 128 tokens of a request, in fp16 beside the records',
  map: 'words are A fragments of mma.m16n8k16, see pack.ts',
  shapeError: (t) =>
    t.tokens % recordTokens === 0
      ? null
      : `tokens: ${t.tokens} is not a multiple of ${recordTokens}, one record`,
  arrays: (t) => ({ stages: (t.tokens / recordTokens) * stageBytes(t) }),
  codePlace,
  scalePlace: (t, index) => parameterPlace(t, index, false),
  zeroPlace: (t, index) => parameterPlace(t, index, true),
});
