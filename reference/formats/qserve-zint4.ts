/**
 * QServe (omniserve) ZINT4: 4 bits with a zero in code units, one scale and zero for a token of a
 * head.
 *
 * Source: github.com/mit-han-lab/omniserve 02b2925, kernels/csrc/fused_attention:
 * fused_attention_fine_grained/fine_grained_common/applyBiasRopeUpdateKVCache.h (parameters),
 * common/decoderMaskedMultiheadAttentionUtils.h (store_4bits_kv_cache_vec, cast_to_packed_uint4,
 * convert_from_4bit_kv_cache).
 *
 * The steps are IEEE here. The build uses --use_fast_math, whose divisions may be 2 ulp off in fp32
 * before they are rounded to fp16, and contracts x * inverse + zero to one fma, which is stated
 * below: a code beside a rounding boundary can differ from the original by one.
 *
 * Layout of one KV head: codes uint8 (tokens, headSize / 2), the even channel in the low nibble;
 * scales and zeros fp16 (tokens). In a page: codes of all heads, then scales [head][token], then
 * zeros.
 */
import { f16Round } from '../format.js';
import { f16, fmaF32 } from '../number-type.js';
import { defineFormat } from './define-format.js';
import type { FormatSpec, GroupResult, HeadTensor } from './format-spec.js';
import { extremes, toUnsigned8 } from './rounding.js';

function quantizeGroup(_t: HeadTensor, x: Float64Array, codes: Uint8Array): GroupResult {
  const { fround } = Math;
  const { min, max } = extremes(x);
  const range = fround(max - min);
  const scale = f16Round(fround(range / 15));
  const zero = f16Round(fround(fround(-15 * min) / range));
  const inverse = fround(1 / scale);
  for (let i = 0; i < x.length; i++) {
    // The saturation is that of 8 bits; a nibble keeps the low half, so 16 wraps to 0.
    codes[i] = toUnsigned8(fmaF32(x[i], inverse, zero)) & 15;
  }
  return { scale: f16.encode(scale), zero: f16.encode(zero) };
}

export const qserveZint4: FormatSpec = defineFormat({
  format: 'qserve-zint4',
  source: 'github.com/mit-han-lab/omniserve 02b2925, kernels/csrc/fused_attention',
  verified: 'written from the source; the original (CUDA) was not run',
  bits: [4],
  groups: ['all'],
  headSizes: [64, 128, 256],
  inputs: ['f16'],
  axis: { k: 'one token of one head', v: 'one token of one head' },
  axisOf: { k: 'token', v: 'token' },
  steps: [
    'max, min = over the token, a NaN loses',
    'range = RN32(max - min)',
    'scale = RN16(RN32(range / 15))',
    'zero = RN16(RN32(RN32(-15 min) / range))',
    'inverse = RN32(1 / scale), of the rounded scale',
    'code = cvt.rni.sat.u8(RN32(x * inverse + zero)) mod 16',
  ],
  rounding: 'half to even, saturated to 0 .. 255, then the low 4 bits',
  zero: 'a real number in code units, not clamped: x = scale (code - zero)',
  types: {
    'x, scale, zero': 'binary16',
    'range, inverse, quotients, code before rounding': 'binary32',
  },
  degenerate: {
    'max == min': 'scale 0, zero Inf or NaN, codes 0: every element dequantises to NaN',
    '|mean| / range large': 'a rounded zero moves codes past 15: 16 wraps to 0',
    'range < 15 * 2^-25': 'scale 0 with a finite or infinite zero: dequantises to 0 or NaN',
  },
  nonFinite: {
    NaN: 'loses in max and min; its own code is 0. Only NaN: scale and zero NaN',
    '+Inf': 'scale Inf, zero 0 or -0, codes 0 (NaN for +Inf itself): dequantises to NaN',
    '-Inf': 'scale Inf, zero NaN: dequantises to NaN',
  },
  scaleType: 'f16',
  zeroType: 'f16',
  dequantized: 'one fp16 fma: RN16(code * scale + RN16(-scale * zero))',
  residual: 'none',
  map: 'channel c of a token: byte c / 2, low nibble if c is even',
  quantizeGroup,
  dequantizeCode: (_t, code, scale, zero) => f16Round(code * scale + f16Round(-scale * zero)),
  exactCode: (_t, code, scale, zero) => scale * (code - zero),
  arrays: (t) => ({
    codes: (t.tokens * t.headSize) / 2,
    scales: 2 * t.tokens,
    zeros: 2 * t.tokens,
  }),
  codePlace: (t, token, channel) => ({
    array: 'codes',
    byte: (token * t.headSize + channel) >> 1,
    shift: 4 * (channel & 1),
  }),
  scalePlace: (_t, index) => ({ array: 'scales', byte: 2 * index, shift: 0 }),
  zeroPlace: (_t, index) => ({ array: 'zeros', byte: 2 * index, shift: 0 }),
});
