/**
 * The layout "record128": 128 tokens of one KV head, codes and parameters, as one run of bytes.
 *
 *   K words | K params | V words | V params          (little endian; first and second half of the
 *   words: 128 * 128 * bits / 8 bytes                 record are what a kernel loads as two stages)
 *   params: 512 * (128 / group) bytes
 *
 * Words hold a 128 x 128 matrix of codes: rows are tokens and columns channels for K, rows are
 * channels and columns tokens for V. A 32-bit word is one (4 bits) or two (2 bits) A fragments of
 * mma.m16n8k16 of one lane, so a kernel feeds it to the tensor core after masking. With
 *   row = 16 mt + g + 8 (a & 1)      col = 16 ks + 2 c + h + 8 (a >> 1)      lane = 4 g + c
 *   (mt, ks in 0..7, g in 0..7, c in 0..3, fragment register a in 0..3, half h in 0..1):
 *   4 bits: word ((2 mt + (ks >> 2)) 32 + lane) 4 + (ks & 3), bit 4 (a >> 1) + 8 (a & 1) + 16 h
 *   2 bits: word (32 mt + lane) 4 + (ks >> 1), bit 4 (ks & 1) + 2 (a >> 1) + 8 (a & 1) + 16 h
 * K params, for each group of tokens: 128 scales, then 128 zeros; channel d = 16 ks + r is at
 *   (8 c + ks) 4 + j with c = (r & 7) >> 1, j = 2 (r >> 3) + (r & 1).
 * V params, for each group of channels: 128 tokens of {scale, zero}.
 *
 * No field crosses a byte, so bytes are addressed directly and the machine's order does not matter.
 */
import type { Quantized } from './quantize.js';
import { recordTokens, type Scheme } from './scheme.js';

const size = recordTokens; // also the head size of this layout: a record is square

/** Bytes of K words (or V words) of a record. */
function wordBytes(scheme: Scheme): number {
  return (size * size * scheme.bits) / 8;
}

/** Bytes of K params (or V params) of a record. */
function paramBytes(scheme: Scheme): number {
  return 4 * size * (size / scheme.group);
}

/** Bytes of one record: 17,408 at 4 bits and groups of 128. */
export function recordBytes(scheme: Scheme): number {
  return 2 * (wordBytes(scheme) + paramBytes(scheme));
}

interface Places {
  /** byte of the code of (row, col), (128, 128) */
  readonly byte: Uint16Array;
  /** its lowest bit in that byte, (128, 128) */
  readonly shift: Uint8Array;
}

function places(bits: 4 | 2): Places {
  const byte = new Uint16Array(size * size);
  const shift = new Uint8Array(size * size);
  for (let row = 0; row < size; row++) {
    for (let col = 0; col < size; col++) {
      const mt = row >> 4;
      const ks = col >> 4;
      const lane = (row & 7) * 4 + ((col & 7) >> 1);
      const h = col & 1;
      const aRow = (row >> 3) & 1; // a & 1
      const aCol = (col >> 3) & 1; // a >> 1
      const word =
        bits === 4
          ? ((mt * 2 + (ks >> 2)) * 32 + lane) * 4 + (ks & 3)
          : (mt * 32 + lane) * 4 + (ks >> 1);
      const bit = aRow * 8 + h * 16 + (bits === 4 ? aCol * 4 : (ks & 1) * 4 + aCol * 2);
      byte[row * size + col] = word * 4 + (bit >> 3);
      shift[row * size + col] = bit & 7;
    }
  }
  return { byte, shift };
}

const placesOf: Readonly<Record<4 | 2, Places>> = { 4: places(4), 2: places(2) };

/** Index of channel d among the 128 scales (or zeros) of a K parameter group, (128). */
const channelPlace = Uint8Array.from({ length: size }, (_, d) => {
  const r = d & 15;
  return (((r & 7) >> 1) * 8 + (d >> 4)) * 4 + (r >> 3) * 2 + (r & 1);
});

/** codes (tokens 128, channels 128) into words; `transposed` puts channels in the rows (V). */
function packWords(codes: Uint8Array, bits: 4 | 2, transposed: boolean, words: Uint8Array): void {
  const { byte, shift } = placesOf[bits];
  const mask = 2 ** bits - 1;
  for (let row = 0; row < size; row++) {
    for (let col = 0; col < size; col++) {
      const place = row * size + col;
      const code = codes[transposed ? col * size + row : place];
      words[byte[place]] |= (code & mask) << shift[place];
    }
  }
}

function unpackWords(words: Uint8Array, bits: 4 | 2, transposed: boolean): Uint8Array {
  const { byte, shift } = placesOf[bits];
  const mask = 2 ** bits - 1;
  const codes = new Uint8Array(size * size);
  for (let row = 0; row < size; row++) {
    for (let col = 0; col < size; col++) {
      const place = row * size + col;
      codes[transposed ? col * size + row : place] = (words[byte[place]] >>> shift[place]) & mask;
    }
  }
  return codes;
}

/**
 * Calls visit(byte of a scale, byte of its zero, index) for all parameters of one tensor; index is
 * into Quantized.scales, bytes count from the start of the params.
 */
function eachParameter(
  tensor: 'k' | 'v',
  group: number,
  visit: (scaleByte: number, zeroByte: number, index: number) => void,
): void {
  const groups = size / group;
  for (let g = 0; g < groups; g++) {
    for (let i = 0; i < size; i++) {
      if (tensor === 'k') {
        const scaleByte = 4 * size * g + 2 * channelPlace[i];
        visit(scaleByte, scaleByte + 2 * size, g * size + i);
      } else {
        const scaleByte = 4 * (size * g + i);
        visit(scaleByte, scaleByte + 2, i * groups + g);
      }
    }
  }
}

/**
 * A record of 128 tokens. k and v: codes (128, 128), params (128 / group, 128) and (128, 128 /
 * group).
 */
export function packRecord(scheme: Scheme, k: Quantized, v: Quantized): Uint8Array {
  const record = new Uint8Array(recordBytes(scheme));
  const half = record.length / 2;
  for (const tensor of ['k', 'v'] as const) {
    const { codes, scales, zeros } = tensor === 'k' ? k : v;
    const stage = record.subarray(tensor === 'k' ? 0 : half, tensor === 'k' ? half : 2 * half);
    packWords(codes, scheme.bits, tensor === 'v', stage);
    const params = stage.subarray(wordBytes(scheme));
    eachParameter(tensor, scheme.group, (scaleByte, zeroByte, index) => {
      params[scaleByte] = scales[index] & 255;
      params[scaleByte + 1] = scales[index] >> 8;
      params[zeroByte] = zeros[index] & 255;
      params[zeroByte + 1] = zeros[index] >> 8;
    });
  }
  return record;
}

function unpackStage(scheme: Scheme, stage: Uint8Array, tensor: 'k' | 'v'): Quantized {
  const codes = unpackWords(stage, scheme.bits, tensor === 'v');
  const params = stage.subarray(wordBytes(scheme));
  const scales = new Uint16Array((size * size) / scheme.group);
  const zeros = new Uint16Array(scales.length);
  eachParameter(tensor, scheme.group, (scaleByte, zeroByte, index) => {
    scales[index] = params[scaleByte] | (params[scaleByte + 1] << 8);
    zeros[index] = params[zeroByte] | (params[zeroByte + 1] << 8);
  });
  return { codes, scales, zeros };
}

/** The inverse of packRecord. */
export function unpackRecord(scheme: Scheme, record: Uint8Array): { k: Quantized; v: Quantized } {
  const half = recordBytes(scheme) / 2;
  if (record.length !== 2 * half) {
    throw new RangeError(`record: ${record.length} bytes, ${2 * half} are required`);
  }
  return {
    k: unpackStage(scheme, record.subarray(0, half), 'k'),
    v: unpackStage(scheme, record.subarray(half), 'v'),
  };
}
