/**
 * NVFP4: e2m1 in blocks of 16 channels of a token, an e4m3 scale for each block and an fp32 scale
 * over all of them, which is given (amax / (6 * 448) by custom).
 *
 * Source: FlashInfer csrc/fp4_kv_quantization.cu @0c33fb7, csrc/fp4_kv_dequantization.cu @04c4c51.
 * rcp.approx.ftz (1 ulp) is an exact reciprocal here, so a block scale or code beside a rounding
 * boundary can differ by one. The conversion to e2m1 exists on sm_100 and newer only. With bf16
 * input the original's maximum is order-dependent in the presence of NaN; here a NaN loses, as for
 * fp16.
 *
 * Layout of one KV head: codes uint8 (tokens, headSize / 2), the even channel in the low nibble;
 * scales e4m3 (tokens, headSize / 16), linear. Some kernels want V's scales swizzled: not here.
 */
import { e2m1, e4m3, numberTypes } from '../number-type.js';
import { defineFormat } from './define-format.js';
import type { FormatSpec, GroupResult, HeadTensor } from './format-spec.js';
import { absoluteMax } from './rounding.js';

const sixth = Math.fround(1 / 6);

function quantizeGroup(t: HeadTensor, x: Float64Array, codes: Uint8Array): GroupResult {
  const { fround } = Math;
  const global = t.given as number;
  const max = x.every(Number.isNaN) ? Number.NaN : absoluteMax(x);
  const scale = e4m3.saturate(fround(fround(1 / global) * fround(max * sixth)));
  // A block whose scale rounds to 0 has an infinite inverse: its elements saturate.
  const inverse = max === 0 ? 0 : fround(1 / fround(e4m3.decode(scale) * global));
  for (let i = 0; i < x.length; i++) codes[i] = e2m1.saturate(fround(x[i] * inverse));
  return { scale, zero: 0 };
}

export const nvfp4: FormatSpec = defineFormat({
  format: 'nvfp4',
  source: 'github.com/flashinfer-ai/flashinfer, csrc/fp4_kv_quantization.cu @0c33fb7',
  verified:
    'e2m1 and e4m3 codecs against ml_dtypes on a CPU: corpus/vectors/formats/numbers.json; ' +
    'the original (CUDA, sm_100) was not run',
  bits: [4],
  groups: [16],
  headSizes: [],
  inputs: ['f16', 'bf16'],
  axis: { k: '16 consecutive channels of one token', v: '16 consecutive channels of one token' },
  axisOf: { k: 'token', v: 'token' },
  steps: [
    'amax = largest magnitude of the block, a NaN loses',
    'scale = e4m3(RN32(RN32(1 / global) * RN32(amax * RN32(1 / 6)))), saturated',
    'inverse = amax == 0 ? 0 : RN32(1 / RN32(scale * global))',
    'code = cvt.rn.satfinite.e2m1(RN32(x * inverse))',
  ],
  rounding: 'half to even in e2m1, saturated to 6',
  zero: 'none: x = code scale global',
  types: {
    'x, amax, inverse, product, global': 'binary32',
    scale: 'e4m3, rounded before the codes are made',
    code: 'e2m1: sign, then 0 0.5 1 1.5 2 3 4 6',
  },
  degenerate: {
    'all zero': 'scale 0, codes 0 or 8 (the sign is kept)',
    'amax < 6 global 2^-10': 'scale rounds to 0, inverse Inf: codes 6 or -6, dequantises to 0',
    'amax > 6 * 448 global': 'scale is 448, codes saturate at 6',
  },
  nonFinite: {
    NaN: 'loses in amax; its own code is 7 (6). Only NaN: scale NaN, everything is NaN',
    '+Inf, -Inf': 'scale 448, the Inf saturates to 6 * 448 * global',
  },
  given: 'the fp32 scale over all blocks',
  scaleType: 'e4m3',
  zeroType: null,
  dequantized: 'RN of RN32(code * scale * global) to the type of the input',
  residual: 'none',
  map: 'channel c of a token: byte c / 2, low nibble if c is even',
  quantizeGroup,
  dequantizeCode: (t, code, scale) => {
    const value = Math.fround(e2m1.decode(code) * scale * (t.given as number));
    return numberTypes[t.input].round(value);
  },
  exactCode: (t, code, scale) => e2m1.decode(code) * scale * (t.given as number),
  arrays: (t) => ({
    codes: (t.tokens * t.headSize) / 2,
    scales: (t.tokens * t.headSize) / 16,
  }),
  codePlace: (t, token, channel) => ({
    array: 'codes',
    byte: (token * t.headSize + channel) >> 1,
    shift: 4 * (channel & 1),
  }),
  scalePlace: (_t, index) => ({ array: 'scales', byte: index, shift: 0 }),
});
