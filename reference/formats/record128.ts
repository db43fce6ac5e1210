/**
 * record128, the layout of this project's kernels (../pack.ts), as two FormatSpecs, for K per
 * channel and for K per token: BitDecoding's arithmetic in records of 128 tokens whose words are
 * tensor-core fragments.
 *
 * One tensor's part of a record is a stage: words, then params. A cache holds, record by record,
 * K's stage and then V's; here stages of one tensor lie one after the other. The formulas are those
 * of the header of pack.ts, written again for one element at a time; the test holds the two
 * together. Groups of channels that are larger than the head are named by the head's size here.
 */
import { stageBytes } from '../pack.js';
import { type KeyAxis, recordTokens, type Scheme } from '../scheme.js';
import { bitdecodingArithmetic } from './bitdecoding-arithmetic.js';
import { defineFormat } from './define-format.js';
import type { FormatSpec, HeadTensor, Place } from './format-spec.js';

/** The Scheme that the rest of the reference knows this format by. */
export function schemeOf(kAxis: KeyAxis, t: HeadTensor): Scheme {
  const [bits, group] = [t.bits as Scheme['bits'], t.group as Scheme['group']];
  return { format: 'bitdecoding', kAxis, bits, group };
}

function bytesOf(kAxis: KeyAxis, t: HeadTensor): number {
  return stageBytes(schemeOf(kAxis, t), t.headSize)[t.tensor];
}

/** Word of a lane and lowest bit in it, of (row, column) within its tile and step. */
function wordAndBit(bits: number, step: number, row: number, column: number): [number, number] {
  const a = ((row >> 3) & 1) + 2 * ((column >> 3) & 1);
  const h = column & 1;
  if (bits === 4) return [step, 4 * (a >> 1) + 8 * (a & 1) + 16 * h];
  if (bits === 8) return [2 * step + (a >> 1), 8 * (a & 1) + 16 * h];
  return [step >> 1, 4 * (step & 1) + 2 * (a >> 1) + 8 * (a & 1) + 16 * h];
}

function codePlace(kAxis: KeyAxis, t: HeadTensor, token: number, channel: number): Place {
  const inRecord = token % recordTokens;
  const [row, column] = t.tensor === 'k' ? [inRecord, channel] : [channel, inRecord];
  const columns = t.tensor === 'k' ? t.headSize : recordTokens;
  const words = ((columns / 16) * t.bits) / 4;
  const unit = Math.min(4, words);
  const [word, bit] = wordAndBit(t.bits, column >> 4, row, column);
  const lane = 4 * (row & 7) + ((column & 7) >> 1);
  const run = ((row >> 4) * words) / unit + Math.floor(word / unit);
  const index = (run * 32 + lane) * unit + (word % unit);
  const stage = Math.floor(token / recordTokens) * bytesOf(kAxis, t);
  return { array: 'stages', byte: stage + 4 * index + (bit >> 3), shift: bit & 7 };
}

function parameterPlace(kAxis: KeyAxis, t: HeadTensor, index: number, zero: boolean): Place {
  const group = t.group as number;
  const words = (recordTokens * t.headSize * t.bits) / 8;
  const place = (record: number, byte: number) => ({
    array: 'stages',
    byte: record * bytesOf(kAxis, t) + words + byte,
    shift: 0,
  });
  if (t.tensor === 'k' && kAxis === 'channel') {
    const [tokenGroup, channel] = [Math.floor(index / t.headSize), index % t.headSize];
    const groups = recordTokens / group;
    const [step, r] = [channel >> 4, channel & 15];
    const half = (((r & 7) >> 1) * (t.headSize / 16) + step) * 4 + 2 * (r >> 3) + (r & 1);
    const first = 4 * t.headSize * (tokenGroup % groups);
    const byte = first + 2 * half + (zero ? 2 * t.headSize : 0);
    return place(Math.floor(tokenGroup / groups), byte);
  }
  const groups = t.headSize / group;
  const [token, g] = [Math.floor(index / groups), index % groups];
  const byte = 4 * (recordTokens * g + (token % recordTokens)) + (zero ? 2 : 0);
  return place(Math.floor(token / recordTokens), byte);
}

function record(kAxis: KeyAxis, format: string, k: string): FormatSpec {
  return defineFormat({
    ...bitdecodingArithmetic,
    format,
    source: 'reference/pack.ts, native/kernels',
    verified: 'the kernels of native/kernels write and read it',
    bits: [4, 2, 8],
    inputs: ['f16', 'bf16'],
    headSizes: [128, 64, 256],
    axis: { k, v: 'group consecutive channels of one token' },
    axisOf: { k: kAxis, v: 'token' },
    dequantized: 'code * scale + zero, exact: kernels fold scale and zero into the other operand',
    dequantizeCode: bitdecodingArithmetic.exactCode,
    residual: 'the last tokens mod 128 tokens of a request, as they came, beside the records',
    map: 'words are A fragments of mma.m16n8k16, see pack.ts',
    shapeError: (t) =>
      t.tokens % recordTokens === 0
        ? null
        : `tokens: ${t.tokens} is not a multiple of ${recordTokens}, one record`,
    arrays: (t) => ({ stages: (t.tokens / recordTokens) * bytesOf(kAxis, t) }),
    codePlace: (t, token, channel) => codePlace(kAxis, t, token, channel),
    scalePlace: (t, index) => parameterPlace(kAxis, t, index, false),
    zeroPlace: (t, index) => parameterPlace(kAxis, t, index, true),
  });
}

export const record128 = record('channel', 'record128', 'group consecutive tokens of one channel');

export const record128KToken = record(
  'token',
  'record128-k-token',
  'group consecutive channels of one token',
);
