/**
 * The layout "record128": 128 tokens of one KV head of size D, codes of b bits and parameters, as
 * one run of bytes.
 *
 *   K words | K params | V words | V params      (little endian; K's part and V's part of the
 *   record
 *   are its stages, what a kernel loads as two)
 *   words: 128 * D * b / 8 bytes of K, and of V
 *   params per channel: 4 * D * (128 / group) bytes; per token: 4 * 128 * (D / channelGroup) bytes
 *
 * Words hold a matrix of codes: rows are tokens and columns channels for K (128, D), rows are
 * channels and columns tokens for V (D, 128). Rows come in tiles of 16, columns in steps of 16. A
 * 32-bit word holds A fragments of mma.m16n8k16 of one lane: one (4 bits), two (2 bits) or half of
 * one (8 bits), so a kernel feeds it to the tensor core after masking. A lane has
 * W = steps * b / 4 words in a row tile, which lie together in units of U = min(4, W):
 *   index(tile, word, lane) = ((tile * (W / U) + floor(word / U)) * 32 + lane) * U + word % U
 * The element in row r and column c of a tile and step (r, c in 0..15), with
 *   lane = 4 (r & 7) + ((c & 7) >> 1), a = (r >> 3) + 2 (c >> 3) the fragment's register, h = c & 1
 * is at
 *   4 bits: word = step,                 bit = 4 (a >> 1) + 8 (a & 1) + 16 h
 *   2 bits: word = step >> 1,            bit = 4 (step & 1) + 2 (a >> 1) + 8 (a & 1) + 16 h
 *   8 bits: word = 2 step + (a >> 1),    bit = 8 (a & 1) + 16 h
 * K params per channel, for each group of tokens: D scales, then D zeros; channel 16 step + r is at
 *   (((r & 7) >> 1) (D / 16) + step) 4 + 2 (r >> 3) + (r & 1).
 * Params per token (V's, and K's on that axis), for each group of channels: 128 tokens of {scale,
 * zero}.
 *
 * A record of format "fp16" is K (128, D), then V (128, D), row after row, 16-bit words as they
 * came.
 *
 * No field crosses a byte, so bytes are addressed directly and the machine's order does not matter.
 */
import type { Quantized, QuantizedRecord } from './quantize.js';
import { parameterCounts } from './quantize.js';
import { channelGroup, isPlain, recordTokens, type Scheme } from './scheme.js';

/** Bytes of the two stages of a record. */
export function stageBytes(scheme: Scheme, headSize: number): { k: number; v: number } {
  const words = (recordTokens * headSize * scheme.bits) / 8;
  if (isPlain(scheme)) return { k: words, v: words };
  const parameters = parameterCounts(scheme, recordTokens, headSize);
  return { k: words + 4 * parameters.k, v: words + 4 * parameters.v };
}

/** Bytes of one record: 17,408 at head size 128, 4 bits and groups of 128. */
export function recordBytes(scheme: Scheme, headSize: number): number {
  const { k, v } = stageBytes(scheme, headSize);
  return k + v;
}

interface Places {
  /** byte of the code of each element of (tokens, headSize) */
  readonly byte: Uint32Array;
  /** its lowest bit in that byte */
  readonly shift: Uint8Array;
}

/** By element of (tokens, headSize); rows and columns of the matrix as in the header. */
function makePlaces(bits: number, headSize: number, tensor: 'k' | 'v'): Places {
  const count = recordTokens * headSize;
  const [byte, shift] = [new Uint32Array(count), new Uint8Array(count)];
  const columns = tensor === 'k' ? headSize : recordTokens;
  const words = ((columns / 16) * bits) / 4;
  const unit = Math.min(4, words);
  for (let element = 0; element < count; element++) {
    const [token, channel] = [Math.floor(element / headSize), element % headSize];
    const [row, column] = tensor === 'k' ? [token, channel] : [channel, token];
    const step = column >> 4;
    const lane = (row & 7) * 4 + ((column & 7) >> 1);
    const aRow = (row >> 3) & 1; // a & 1
    const aColumn = (column >> 3) & 1; // a >> 1
    let bit = aRow * 8 + (column & 1) * 16;
    let word = step;
    if (bits === 8) word = 2 * step + aColumn;
    else if (bits === 4) bit += aColumn * 4;
    else {
      word = step >> 1;
      bit += (step & 1) * 4 + aColumn * 2;
    }
    const run = (row >> 4) * (words / unit) + Math.floor(word / unit);
    const index = (run * 32 + lane) * unit + (word % unit);
    byte[element] = index * 4 + (bit >> 3);
    shift[element] = bit & 7;
  }
  return { byte, shift };
}

const placesMade = new Map<string, Places>();

/** Places of the codes of one tensor; made once for each shape. */
function placesOf(bits: number, headSize: number, tensor: 'k' | 'v'): Places {
  const name = `${bits} ${headSize} ${tensor}`;
  let places = placesMade.get(name);
  if (places === undefined) {
    places = makePlaces(bits, headSize, tensor);
    placesMade.set(name, places);
  }
  return places;
}

/**
 * Calls visit(byte of a scale, byte of its zero, index) for all parameters of one tensor; index is
 * into Quantized.scales, bytes count from the start of the params.
 */
function eachParameter(
  scheme: Scheme,
  headSize: number,
  tensor: 'k' | 'v',
  visit: (scaleByte: number, zeroByte: number, index: number) => void,
): void {
  if (tensor === 'k' && scheme.kAxis === 'channel') {
    for (let g = 0; g < recordTokens / scheme.group; g++) {
      for (let d = 0; d < headSize; d++) {
        const r = d & 15;
        const line = ((r & 7) >> 1) * (headSize / 16) + (d >> 4);
        const scaleByte = 4 * headSize * g + 2 * (line * 4 + (r >> 3) * 2 + (r & 1));
        visit(scaleByte, scaleByte + 2 * headSize, g * headSize + d);
      }
    }
    return;
  }
  const groups = headSize / channelGroup(scheme, headSize);
  for (let g = 0; g < groups; g++) {
    for (let token = 0; token < recordTokens; token++) {
      const scaleByte = 4 * (recordTokens * g + token);
      visit(scaleByte, scaleByte + 2, token * groups + g);
    }
  }
}

function packStage(
  scheme: Scheme,
  headSize: number,
  tensor: 'k' | 'v',
  { codes, scales, zeros }: Quantized,
  stage: Uint8Array,
): void {
  const { byte, shift } = placesOf(scheme.bits, headSize, tensor);
  const mask = 2 ** scheme.bits - 1;
  for (let i = 0; i < byte.length; i++) stage[byte[i]] |= (codes[i] & mask) << shift[i];
  const params = stage.subarray((recordTokens * headSize * scheme.bits) / 8);
  eachParameter(scheme, headSize, tensor, (scaleByte, zeroByte, index) => {
    params[scaleByte] = scales[index] & 255;
    params[scaleByte + 1] = scales[index] >> 8;
    params[zeroByte] = zeros[index] & 255;
    params[zeroByte + 1] = zeros[index] >> 8;
  });
}

/** A record of 128 tokens, from quantizeRecord. */
export function packRecord(
  scheme: Scheme,
  headSize: number,
  { k, v }: QuantizedRecord,
): Uint8Array {
  const record = new Uint8Array(recordBytes(scheme, headSize));
  const kBytes = stageBytes(scheme, headSize).k;
  packStage(scheme, headSize, 'k', k, record.subarray(0, kBytes));
  packStage(scheme, headSize, 'v', v, record.subarray(kBytes));
  return record;
}

function unpackStage(
  scheme: Scheme,
  headSize: number,
  tensor: 'k' | 'v',
  stage: Uint8Array,
): Quantized {
  const { byte, shift } = placesOf(scheme.bits, headSize, tensor);
  const mask = 2 ** scheme.bits - 1;
  const codes = new Uint8Array(recordTokens * headSize);
  for (let i = 0; i < codes.length; i++) codes[i] = (stage[byte[i]] >>> shift[i]) & mask;
  const params = stage.subarray((recordTokens * headSize * scheme.bits) / 8);
  const scales = new Uint16Array(parameterCounts(scheme, recordTokens, headSize)[tensor]);
  const zeros = new Uint16Array(scales.length);
  eachParameter(scheme, headSize, tensor, (scaleByte, zeroByte, index) => {
    scales[index] = params[scaleByte] | (params[scaleByte + 1] << 8);
    zeros[index] = params[zeroByte] | (params[zeroByte + 1] << 8);
  });
  return { codes, scales, zeros };
}

function requireRecord(scheme: Scheme, headSize: number, record: Uint8Array): void {
  const bytes = recordBytes(scheme, headSize);
  if (record.length === bytes) return;
  throw new RangeError(`record: ${record.length} bytes, ${bytes} are required`);
}

/** The inverse of packRecord. */
export function unpackRecord(
  scheme: Scheme,
  headSize: number,
  record: Uint8Array,
): QuantizedRecord {
  requireRecord(scheme, headSize, record);
  const kBytes = stageBytes(scheme, headSize).k;
  return {
    k: unpackStage(scheme, headSize, 'k', record.subarray(0, kBytes)),
    v: unpackStage(scheme, headSize, 'v', record.subarray(kBytes)),
  };
}

/** A record of format "fp16". k, v: words, (128, headSize). */
export function packPlainRecord(k: Uint16Array, v: Uint16Array): Uint8Array {
  const record = new Uint8Array(2 * (k.length + v.length));
  for (const [words, from] of [
    [k, 0],
    [v, 2 * k.length],
  ] as const) {
    for (let i = 0; i < words.length; i++) {
      record[from + 2 * i] = words[i] & 255;
      record[from + 2 * i + 1] = words[i] >> 8;
    }
  }
  return record;
}

/** The inverse of packPlainRecord. */
export function unpackPlainRecord(
  scheme: Scheme,
  headSize: number,
  record: Uint8Array,
): { k: Uint16Array; v: Uint16Array } {
  requireRecord(scheme, headSize, record);
  const words = new Uint16Array(record.length / 2);
  for (let i = 0; i < words.length; i++) words[i] = record[2 * i] | (record[2 * i + 1] << 8);
  return { k: words.subarray(0, words.length / 2), v: words.subarray(words.length / 2) };
}
