/**
 * What BitDecoding's two formats and record128 share: the statement and the arithmetic of one
 * group, which is quantize.ts's, and the layout of V.
 *
 * Source: BitDecoding main e829b5a, csrc/bit_decode/src: include/qpack.h (arithmetic),
 * flash_fwd_kernel.h compute_qpack_1rowblock (parameter places), include/kernel_traits.h (tiles: 16
 * x 128 x 16, four warps along N, so the registers that become the fields of one word lie 32 rows
 * apart).
 *
 * A register fragment of mma.m16n8k16's B operand holds, of each 16 elements along K (channels of
 * K, tokens of V), those with index 8 hi + 2 c + lo: c is the lane's number in its quad. The
 * functions below write that decomposition as i, hi, c, lo.
 */
import { elementWords, f16Round } from '../format.js';
import { quantizeV } from '../quantize.js';
import { bitdecoding, type Scheme } from '../scheme.js';
import type { FormatDefinition, GroupResult, HeadTensor, Place } from './format-spec.js';
import { extremes } from './rounding.js';

/** Tokens that one block of the packing kernel takes. */
export function blockTokens(bits: number): number {
  return bits === 4 ? 128 : 256;
}

/** Parameters that one row of a block has along the grouped axis of 128 elements, V's P. */
function groupsOfRow(t: HeadTensor): number {
  return 128 / (t.group as number);
}

/** x: one group of values of the input's type. */
function quantizeGroup(t: HeadTensor, x: Float64Array, codes: Uint8Array): GroupResult {
  const [bits, group] = [t.bits as Scheme['bits'], t.group as Scheme['group']];
  const scheme: Scheme = { format: 'bitdecoding', kAxis: 'token', bits, group };
  const type = t.input === 'bf16' ? 'bf16' : 'fp16';
  const words = elementWords(type, x);
  const quantized = quantizeV(scheme, words, 1, x.length, type);
  codes.set(quantized.codes);
  return { scale: quantized.scales[0], zero: quantized.zeros[0] };
}

/**
 * The same steps without the last roundings. BitDecoding is compiled with fast-math: its two
 * divisions may be 3 ulps off, so that codes and scales beside a rounding boundary can be either.
 */
function unroundedGroup(t: HeadTensor, x: Float64Array, codes: Float64Array): number {
  const { fround } = Math;
  const { min, max } = extremes(x);
  const range = fround(max - min);
  const inverse = range > 0 ? fround((2 ** t.bits - 1) / range) : 0;
  for (let i = 0; i < x.length; i++) codes[i] = fround(fround(x[i] - min) * inverse);
  return inverse === 0 ? 0 : fround(1 / inverse);
}

/** Fields of the statement that both formats have. */
export const bitdecodingArithmetic = {
  steps: bitdecoding.steps,
  rounding: bitdecoding.rounding,
  zero: bitdecoding.zero,
  types: bitdecoding.types,
  degenerate: bitdecoding.degenerate,
  nonFinite: {
    NaN: 'loses against every number in max and min; its own code is 0, so it becomes the minimum',
    '+Inf': 'scale 0 and codes 0: the whole group becomes its minimum',
    '-Inf': 'scale 0, zero -Inf: the whole group becomes -Inf',
  },
  inputs: ['f16'],
  scaleType: 'f16',
  zeroType: 'f16',
  headSizes: [128],
  groups: [128, 64, 32],
  dequantized: 'one fp16 fma of code, scale and zero: RN16(code * scale + zero)',
  residual: 'none on main: lengths are multiples of the block',
  quantizeGroup,
  unroundedGroup,
  // code * scale + zero is exact in float64 (cache.ts), so one rounding is left.
  dequantizeCode: (_t: HeadTensor, code: number, scale: number, zero: number) =>
    f16Round(code * scale + zero),
  exactCode: (_t: HeadTensor, code: number, scale: number, zero: number) => code * scale + zero,
} satisfies Partial<FormatDefinition>;

/** What the layouts require of the number of tokens. */
export function blockError(t: HeadTensor): string | null {
  const block = blockTokens(t.bits);
  if (t.tokens % block === 0) return null;
  return `tokens: ${t.tokens} is not a multiple of ${block}, the block of ${t.bits} bits`;
}

/** Bytes of the words of a tensor: 16-bit words, full. */
export function wordBytes(t: HeadTensor): number {
  return (t.tokens * t.headSize * t.bits) / 8;
}

/** The place of field `field` of 16-bit word `word`. */
export function fieldPlace(bits: number, word: number, field: number): Place {
  const bit = field * bits;
  return { array: 'words', byte: 2 * word + (bit >> 3), shift: bit & 7 };
}

/**
 * Words of V, (tokens, headSize * bits / 16). 4 bits: field j of word p is channel 32 j + p. 2
 * bits: a word has 8 fields and a row 16 words; field j is channel 16 j + p. That is our choice:
 * the kernel (main) reads fields 4 to 7 of 2-bit V from the registers of the next 16 tokens, and
 * two of its four warps, which hold channels 16 to 31 of every 32, do not store at all, so no map
 * describes its bytes (seen on a GPU: fields 0 to 3 are the other channels, nothing is in 4 to 7).
 */
export function rowPlace(t: HeadTensor, token: number, channel: number): Place {
  const words = (t.headSize * t.bits) / 16;
  return fieldPlace(t.bits, token * words + (channel % words), Math.floor(channel / words));
}

/**
 * Params of V: half2, (headSize / group, tokens); each 128 tokens: 64 half2 of scales, then 64 of
 * zeros. With P groups in a row and token = 16 i + 8 hi + 2 c + lo of its 128, group g: half `lo`
 *   of row 8 i + 4 floor(j / P) + c, column j mod P, j = 2 g + hi
 * which for P = 1 is simply row token / 2.
 */
export function valueParameterPlace(t: HeadTensor, index: number, zero: boolean): Place {
  const groups = groupsOfRow(t);
  const token = Math.floor(index / groups);
  const [i, hi, c, lo] = [(token & 127) >> 4, (token >> 3) & 1, (token >> 1) & 3, token & 1];
  const j = 2 * (index % groups) + hi;
  const row = (token & ~127) + (zero ? 64 : 0) + 8 * i + 4 * Math.floor(j / groups) + c;
  const column = j % groups;
  return { array: 'params', byte: 4 * (column * t.tokens + row) + 2 * lo, shift: 0 };
}

/** What the two layouts of BitDecoding share. */
export const bitdecodingBlocks = {
  ...bitdecodingArithmetic,
  source: 'github.com/DD-DuDa/BitDecoding, main e829b5a, csrc/bit_decode/src',
  bits: [4, 2],
  shapeError: blockError,
  arrays: (t: HeadTensor) => ({
    words: wordBytes(t),
    params: (4 * t.tokens * t.headSize) / (t.group as number),
  }),
} satisfies Partial<FormatDefinition>;
