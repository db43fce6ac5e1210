/**
 * KIVI: K per channel in groups of tokens, V per token in groups of channels, 2 or 4 bits,
 * asymmetric.
 *
 * Source: github.com/jy-yuan/KIVI 876b4d2, quant/new_pack.py,
 * triton_quantize_and_pack_along_last_dim (what models/llama_kivi.py calls),
 * unpack_and_dequant_*cache for the dequantiser. All arithmetic is PyTorch's on fp16 tensors: each
 * operation once in fp32 and rounded to fp16, which for + - * / is the correctly rounded fp16
 * result (24 >= 2 * 11 + 2). PyTorch divides by a Python number as a product with its fp32
 * reciprocal; for (mx - mn) / 3 and / 15 that gives the same fp16, since no such quotient comes
 * closer than 2^-16 relative to a midpoint.
 *
 * Layout of one KV head: int32 words, feature i at bit bits * i, consecutive along the group's
 *   axis: K codes (headSize, tokens bits / 32), scale and mn (headSize, tokens / group)
 *   V codes (tokens, headSize bits / 32), scale and mn (tokens, headSize / group)
 *
 * A NaN is cast to int32, which C leaves undefined: a GPU gives 0, as here. An x86 CPU gives the
 * word 0x80000000, which the packer shifts into the sign bit and into its neighbours.
 */
import { f16Round } from '../format.js';
import { f16, roundHalfEven } from '../number-type.js';
import { defineFormat } from './define-format.js';
import {
  type FormatSpec,
  type GroupResult,
  groupLength,
  type HeadTensor,
  type Place,
} from './format-spec.js';
import { extremes } from './rounding.js';

function quantizeGroup(t: HeadTensor, x: Float64Array, codes: Uint8Array): GroupResult {
  const levels = 2 ** t.bits - 1;
  const { min, max } = extremes(x);
  const scale = f16Round(f16Round(max - min) / levels);
  for (let i = 0; i < x.length; i++) {
    const y = f16Round(f16Round(x[i] - min) / scale);
    // clamp, then round: the largest value stays a whole number
    const code = roundHalfEven(Math.min(Math.max(y, 0), levels));
    codes[i] = Number.isNaN(code) ? 0 : code;
  }
  return { scale: f16.encode(scale), zero: f16.encode(min) };
}

/** Row of the packed matrix and position in it: rows are channels for K, tokens for V. */
function rowAndPosition(t: HeadTensor, token: number, channel: number): [number, number, number] {
  return t.tensor === 'k' ? [channel, token, t.tokens] : [token, channel, t.headSize];
}

function codePlace(t: HeadTensor, token: number, channel: number): Place {
  const [row, position, length] = rowAndPosition(t, token, channel);
  const bit = (row * length + position) * t.bits; // rows are whole groups, and so whole words
  return { array: 'codes', byte: Math.floor(bit / 8), shift: bit % 8 };
}

function parameterPlace(t: HeadTensor, index: number, array: string): Place {
  if (t.tensor === 'v') return { array, byte: 2 * index, shift: 0 };
  const groups = t.tokens / groupLength('channel', t);
  const [group, channel] = [Math.floor(index / t.headSize), index % t.headSize];
  return { array, byte: 2 * (channel * groups + group), shift: 0 };
}

export const kivi: FormatSpec = defineFormat({
  format: 'kivi',
  source: 'github.com/jy-yuan/KIVI 876b4d2, quant/new_pack.py',
  verified: 'vectors of the original on a GPU: corpus/vectors/formats/kivi.json',
  bits: [4, 2],
  groups: [32, 64, 128],
  headSizes: [],
  inputs: ['f16'],
  axis: {
    k: 'group consecutive tokens of one channel',
    v: 'group consecutive channels of one token',
  },
  axisOf: { k: 'channel', v: 'token' },
  steps: [
    'mx, mn = over the group, a NaN loses',
    'scale = RN16(RN16(mx - mn) / (2^bits - 1))',
    'y = RN16(RN16(x - mn) / scale)',
    'code = round(clamp(y, 0, 2^bits - 1)), a NaN gives 0',
  ],
  rounding: 'clamp, then half to even',
  zero: 'the minimum itself (asymmetric, in units of x)',
  types: {
    'x, mx, mn, scale, y': 'binary16, every step rounded to it',
    code: 'unsigned, bits wide, made with the stored scale',
  },
  degenerate: {
    'mx == mn': 'scale 0, y = 0 / 0 = NaN, code 0 on a GPU; any code dequantises to mn',
    'range < (2^bits - 1) 2^-25': 'scale 0: codes of mn are NaN (0), others Inf clamped to the top',
    'range >= 65520': 'RN16(mx - mn) is Inf: scale Inf, codes 0, dequantises to NaN',
  },
  nonFinite: {
    NaN: 'loses in mx and mn; its own code is 0 on a GPU',
    '+Inf, -Inf': 'scale Inf: every element of the group dequantises to NaN',
  },
  scaleType: 'f16',
  zeroType: 'f16',
  dequantized: 'RN16(RN16(code * scale) + mn) in PyTorch; the CUDA gemv does the same in fp32',
  residual: 'K: the last tokens mod residual_length; V: the newest residual_length tokens; in fp16',
  map: 'feature i along the group axis is at bits (bits i) of int32 word floor(bits i / 32)',
  quantizeGroup,
  dequantizeCode: (_t, code, scale, zero) => f16Round(f16Round(code * scale) + zero),
  exactCode: (_t, code, scale, zero) => code * scale + zero,
  arrays: (t) => {
    const elements = t.tokens * t.headSize;
    const parameters = (2 * elements) / (t.group as number);
    return { codes: (elements * t.bits) / 8, scale: parameters, mn: parameters };
  },
  codePlace,
  scalePlace: (t, index) => parameterPlace(t, index, 'scale'),
  zeroPlace: (t, index) => parameterPlace(t, index, 'mn'),
});
