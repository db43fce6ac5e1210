/**
 * LMDeploy TurboMind u4 and u8: asymmetric, one fp16 scale and minimum for a token of a head.
 *
 * Source: github.com/InternLM/lmdeploy 1263d5c, src/turbomind/kernels/attention/quantization.h
 * (warp_stats, ConvertKvCache, quant) and kv_cache_utils_v2.cu. fp16 models only: bf16 goes through
 * the same templates with other rounding steps.
 *
 * fdividef is approximate (2 ulp) in the original and correctly rounded here: a scale or an inverse
 * whose fp32 value lies that close to an fp16 midpoint may differ by one fp16 ulp (1 / scale comes
 * as close as 2^-22: 2113 * 1985 = 2^22 + 1). code * scale + zero is written with mul.f16 and
 * add.f16 without a rounding modifier, which ptxas fuses: one rounding.
 *
 * Layout of one KV head: codes uint32 (tokens, headSize / 8) at 4 bits, fields from low to high
 * channels 0 2 4 6 1 3 5 7 of each 8; uint8 (tokens, headSize) at 8 bits; params fp16 (tokens, 2):
 * scale, minimum.
 */
import { f16Round } from '../format.js';
import { f16 } from '../number-type.js';
import { defineFormat } from './define-format.js';
import type {
  FormatDefinition,
  FormatSpec,
  GroupResult,
  HeadTensor,
  Place,
} from './format-spec.js';
import { extremes, toUnsigned8 } from './rounding.js';

function quantizeGroup(t: HeadTensor, x: Float64Array, codes: Uint8Array): GroupResult {
  const { fround } = Math;
  const levels = 2 ** t.bits - 1;
  const start = { min: Number.POSITIVE_INFINITY, max: Number.NEGATIVE_INFINITY };
  const { min, max } = extremes(x, start);
  const scale = f16Round(fround(fround(max - min) * fround(1 / levels)));
  const inverse = f16Round(fround(1 / scale));
  for (let i = 0; i < x.length; i++) {
    const y = f16Round(f16Round(x[i] - min) * inverse);
    codes[i] = Math.min(toUnsigned8(y), levels);
  }
  return { scale: f16.encode(scale), zero: f16.encode(min) };
}

/** Field of a channel among the 8 of a word: even channels first. */
function nibble(channel: number): number {
  return (channel & 1) * 4 + ((channel & 7) >> 1);
}

function codePlace(t: HeadTensor, token: number, channel: number): Place {
  const element = token * t.headSize + channel;
  if (t.bits === 8) return { array: 'codes', byte: element, shift: 0 };
  const bit = 4 * nibble(channel);
  return { array: 'codes', byte: 4 * Math.floor(element / 8) + (bit >> 3), shift: bit & 7 };
}

function shapeError(t: HeadTensor): string | null {
  return t.headSize % 8 === 0 ? null : `headSize: ${t.headSize} is not a multiple of 8`;
}

const statement: Omit<FormatDefinition, 'format' | 'bits' | 'rounding' | 'map'> = {
  source: 'github.com/InternLM/lmdeploy 1263d5c, src/turbomind/kernels/attention/quantization.h',
  verified: 'written from the source; the original (CUDA) was not run',
  groups: ['all'],
  headSizes: [],
  inputs: ['f16'],
  axis: { k: 'one token of one head', v: 'one token of one head' },
  axisOf: { k: 'token', v: 'token' },
  steps: [
    'min, max = over the token, a NaN loses, from +Inf and -Inf',
    'scale = RN16(RN32(RN32(max - min) * RN32(1 / (2^bits - 1))))',
    'inverse = RN16(RN32(1 / scale)), of the rounded scale',
    'y = RN16(RN16(x - min) * inverse)',
    'code = min(cvt.rni.sat.u8(y), 2^bits - 1)',
  ],
  zero: 'the minimum itself (asymmetric, in units of x)',
  types: {
    'x, min, max, scale, inverse, y': 'binary16',
    'range, quotients': 'binary32',
  },
  degenerate: {
    'max == min': 'scale 0, inverse Inf, y = 0 * Inf = NaN, code 0: dequantises to min',
    'scale < 2^-16': 'inverse is Inf: code 0 for min, the top code for all others',
    'range > 65504': 'x - min is Inf for some elements: they get the top code',
  },
  nonFinite: {
    NaN: 'loses in min and max; its own code is 0. Only NaN: scale -Inf, zero +Inf',
    '+Inf': 'scale Inf, inverse 0: codes 0, dequantises to NaN',
    '-Inf': 'scale Inf, zero -Inf: dequantises to NaN',
  },
  scaleType: 'f16',
  zeroType: 'f16',
  dequantized: 'RN16(code * scale + zero), fused',
  residual: 'none',
  shapeError,
  quantizeGroup,
  dequantizeCode: (_t, code, scale, zero) => f16Round(code * scale + zero),
  exactCode: (_t, code, scale, zero) => code * scale + zero,
  arrays: (t) => ({ codes: (t.tokens * t.headSize * t.bits) / 8, params: 4 * t.tokens }),
  codePlace,
  scalePlace: (_t, index) => ({ array: 'params', byte: 4 * index, shift: 0 }),
  zeroPlace: (_t, index) => ({ array: 'params', byte: 4 * index + 2, shift: 0 }),
};

export const turbomindU4: FormatSpec = defineFormat({
  ...statement,
  format: 'turbomind-u4',
  bits: [4],
  rounding: 'half to even, saturated to 0 .. 255, then cut at 15',
  map: 'nibbles of a uint32 from low to high: channels 0 2 4 6 1 3 5 7',
});

export const turbomindU8: FormatSpec = defineFormat({
  ...statement,
  format: 'turbomind-u8',
  bits: [8],
  rounding: 'half to even, saturated to 0 .. 255',
  map: 'one byte a channel, in order',
});
