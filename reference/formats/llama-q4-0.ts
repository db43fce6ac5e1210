/**
 * llama.cpp q4_0: blocks of 32 channels of a token, one fp16 scale, codes with an implicit zero of
 * 8.
 *
 * Source: github.com/ggml-org/ggml d99724f, src/ggml-quants.c quantize_row_q4_0_ref and
 * dequantize_row_q4_0; src/ggml-cuda/cpy-utils.cuh quantize_f32_q4_0_block is the same text.
 * Vectors of the CPU function: corpus/vectors/formats (compiled without fma: a build that contracts
 * x * id + 8.5 rounds once and can differ by one code at a boundary).
 *
 * Block of 18 bytes: d (fp16), then 16 bytes: byte j holds element j in the low nibble and element
 * j + 16 in the high one.
 *
 * A float that no int8 holds (NaN, or Inf where 1 / d overflows) is undefined in C; here it gives 0
 * as x86's conversion does. For NaN a GPU gives 0 as well.
 */
import { f16 } from '../number-type.js';
import { defineFormat } from './define-format.js';
import type { FormatSpec, GroupResult, HeadTensor } from './format-spec.js';

const blockSize = 32;
const blockBytes = 2 + blockSize / 2;

function quantizeGroup(_t: HeadTensor, x: Float64Array, codes: Uint8Array): GroupResult {
  const { abs, fround } = Math;
  let signedMax = 0;
  for (const value of x) if (abs(signedMax) < abs(value)) signedMax = value;
  const d = fround(signedMax / -8);
  const inverse = d === 0 ? 0 : fround(1 / d);
  for (let i = 0; i < x.length; i++) {
    const whole = Math.trunc(fround(fround(x[i] * inverse) + 8.5));
    codes[i] = whole < 128 ? Math.min(whole, 15) : 0; // -Inf is stored as 0, too
  }
  return { scale: f16.encode(d), zero: 0 };
}

export const llamaQ40: FormatSpec = defineFormat({
  format: 'llama-q4_0',
  source: 'github.com/ggml-org/ggml d99724f, src/ggml-quants.c',
  verified: 'vectors of the original on a CPU: corpus/vectors/formats/llama-q4_0.json',
  bits: [4],
  groups: [blockSize],
  headSizes: [],
  inputs: ['f32', 'f16'],
  axis: { k: '32 consecutive channels of one token', v: '32 consecutive channels of one token' },
  axisOf: { k: 'token', v: 'token' },
  steps: [
    'm = the element of largest magnitude with its sign, the first one of equals; 0 to start from',
    'd = RN32(m / -8)',
    'id = d == 0 ? 0 : RN32(1 / d)',
    'code = min(trunc(RN32(RN32(x * id) + 8.5)), 15)',
  ],
  rounding: 'half up: add 8.5, truncate, then cut at 15',
  zero: 'none stored: x = d (code - 8)',
  types: {
    'x, d, id, product, sum': 'binary32',
    'd as stored': 'binary16; codes are made with the unrounded d',
  },
  degenerate: {
    'all zero': 'd = -0 (0 / -8), codes 8: dequantises to -0',
    '|m| < 2^-22': 'd rounds to 0 in fp16 although codes are not 8: dequantises to 0 or -0',
    '|m| > 524159': 'd is Inf in fp16: dequantises to Inf and NaN',
  },
  nonFinite: {
    NaN: 'never the largest; its own code is 0: dequantises to m',
    '+Inf, -Inf': 'd Inf, id 0: code 0 (the Inf comes back), all others code 8 and become NaN',
  },
  scaleType: 'f16',
  zeroType: null,
  dequantized: 'RN32((code - 8) * d), exact',
  residual: 'none',
  map: 'element j < 16 of a block: low nibble of byte 2 + j; element j + 16: high nibble of it',
  quantizeGroup,
  dequantizeCode: (_t, code, scale) => (code - 8) * scale,
  exactCode: (_t, code, scale) => (code - 8) * scale,
  arrays: (t) => ({ blocks: ((t.tokens * t.headSize) / blockSize) * blockBytes }),
  codePlace: (t, token, channel) => {
    const element = token * t.headSize + channel;
    const inBlock = element % blockSize;
    return {
      array: 'blocks',
      byte: Math.floor(element / blockSize) * blockBytes + 2 + (inBlock % 16),
      shift: inBlock < 16 ? 0 : 4,
    };
  },
  scalePlace: (_t, index) => ({ array: 'blocks', byte: index * blockBytes, shift: 0 }),
});
