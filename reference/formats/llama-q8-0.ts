/**
 * llama.cpp q8_0: blocks of 32 channels of a token, one fp16 scale, int8 codes, symmetric.
 *
 * Source: github.com/ggml-org/ggml d99724f, src/ggml-quants.c quantize_row_q8_0_ref and
 * dequantize_row_q8_0; src/ggml-cuda/cpy-utils.cuh quantize_f32_q8_0_block is the same for numbers.
 * Vectors of the CPU function: corpus/vectors/formats. Its x86 and ARM versions are another format
 * in the details: the inverse is 127 / amax and ties go to even.
 *
 * NaN follows the CUDA version (fmaxf drops it, its own code is 0); the C version's macro lets a
 * NaN reset the running maximum, which depends on the order.
 *
 * Block of 34 bytes: d (fp16), then 32 int8.
 */
import { f16, roundHalfAway } from '../number-type.js';
import { defineFormat } from './define-format.js';
import type { FormatSpec, GroupResult, HeadTensor } from './format-spec.js';
import { absoluteMax } from './rounding.js';

const blockSize = 32;
const blockBytes = 2 + blockSize;

function quantizeGroup(_t: HeadTensor, x: Float64Array, codes: Uint8Array): GroupResult {
  const { fround } = Math;
  const d = fround(absoluteMax(x) / 127);
  const inverse = d === 0 ? 0 : fround(1 / d);
  for (let i = 0; i < x.length; i++) {
    codes[i] = roundHalfAway(fround(x[i] * inverse)) & 255; // 0 of Inf and NaN
  }
  return { scale: f16.encode(d), zero: 0 };
}

/** int8 of its byte. */
function signed8(code: number): number {
  return (code << 24) >> 24;
}

export const llamaQ80: FormatSpec = defineFormat({
  format: 'llama-q8_0',
  source: 'github.com/ggml-org/ggml d99724f, src/ggml-quants.c',
  verified: 'vectors of the original on a CPU: corpus/vectors/formats/llama-q8_0.json',
  bits: [8],
  groups: [blockSize],
  headSizes: [],
  inputs: ['f32', 'f16'],
  axis: { k: '32 consecutive channels of one token', v: '32 consecutive channels of one token' },
  axisOf: { k: 'token', v: 'token' },
  steps: [
    'amax = largest magnitude, a NaN loses',
    'd = RN32(amax / 127)',
    'id = d == 0 ? 0 : RN32(1 / d)',
    'code = round(RN32(x * id))',
  ],
  rounding: 'half away from zero',
  zero: 'none: x = d code, code from -127 to 127',
  types: {
    'x, d, id, product': 'binary32',
    'd as stored': 'binary16; codes are made with the unrounded d',
  },
  degenerate: {
    'all zero': 'd 0, codes 0',
    'amax < 127 * 2^-25': 'd rounds to 0 in fp16 although codes are not 0: dequantises to 0',
    'amax > 127 * 65519': 'd is Inf in fp16: dequantises to Inf and NaN',
  },
  nonFinite: {
    NaN: 'never the largest; its own code is 0',
    '+Inf, -Inf': 'd Inf, id 0, all codes 0: dequantises to NaN',
  },
  scaleType: 'f16',
  zeroType: null,
  dequantized: 'RN32(code * d), exact',
  residual: 'none',
  map: "element j of a block: byte 2 + j, two's complement",
  quantizeGroup,
  dequantizeCode: (_t, code, scale) => signed8(code) * scale,
  exactCode: (_t, code, scale) => signed8(code) * scale,
  arrays: (t) => ({ blocks: ((t.tokens * t.headSize) / blockSize) * blockBytes }),
  codePlace: (t, token, channel) => {
    const element = token * t.headSize + channel;
    const block = Math.floor(element / blockSize);
    return { array: 'blocks', byte: block * blockBytes + 2 + (element % blockSize), shift: 0 };
  },
  scalePlace: (_t, index) => ({ array: 'blocks', byte: index * blockBytes, shift: 0 }),
});
