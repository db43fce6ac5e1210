/**
 * vLLM int8_per_token_head: int8 with one fp32 scale for a token of a head, symmetric.
 *
 * Source: github.com/vllm-project/vllm, vllm/v1/attention/ops/triton_reshape_and_cache_flash.py
 * (_reshape_cache_per_token_head) with the rounding of pull request 45361: before it, codes were
 * cut toward zero by the store. Divisions are IEEE here; Triton's fp32 division is approximate (2
 * ulp), so a code beside a rounding boundary can differ by one. The kernel has no dequantiser:
 * attention folds the scale into scores and weights.
 *
 * Layout of one KV head: rows of headSize int8 and then the scale, fp32, (tokens, headSize + 4).
 */
import { f32, roundHalfEven } from '../number-type.js';
import { defineFormat } from './define-format.js';
import type { FormatSpec, GroupResult, HeadTensor } from './format-spec.js';
import { absoluteMax } from './rounding.js';

const scaleMin = Math.fround(1e-6);

function quantizeGroup(_t: HeadTensor, x: Float64Array, codes: Uint8Array): GroupResult {
  const { fround } = Math;
  const scale = Math.max(fround(absoluteMax(x) / 127), scaleMin);
  const inverse = fround(1 / scale);
  for (let i = 0; i < x.length; i++) {
    const code = roundHalfEven(fround(x[i] * inverse));
    // Triton's clamp is min(max(code, -128), 127) with the GPU's max, in which a NaN loses.
    codes[i] = Number.isNaN(code) ? 128 : Math.min(Math.max(code, -128), 127) & 255;
  }
  return { scale: f32.encode(scale), zero: 0 };
}

function signed8(code: number): number {
  return (code << 24) >> 24;
}

export const vllmInt8: FormatSpec = defineFormat({
  format: 'vllm-int8_per_token_head',
  source:
    'github.com/vllm-project/vllm, triton_reshape_and_cache_flash.py, after pull request 45361',
  verified: 'written from the source; the original (Triton on a GPU) was not run',
  bits: [8],
  groups: ['all'],
  headSizes: [],
  inputs: ['f16', 'bf16', 'f32'],
  axis: { k: 'one token of one head', v: 'one token of one head' },
  axisOf: { k: 'token', v: 'token' },
  steps: [
    'amax = largest magnitude of the token, a NaN loses',
    'scale = max(RN32(amax / 127), RN32(1e-6))',
    'inverse = RN32(1 / scale)',
    'code = clamp(round(RN32(x * inverse)), -128, 127)',
  ],
  rounding: 'half to even, then clamp',
  zero: 'none: x = scale code',
  types: { 'x, amax, scale, inverse, product': 'binary32', scale: 'binary32, as computed' },
  degenerate: {
    'amax < 127e-6': 'scale is 1e-6: small values keep fewer levels, zero gives codes 0',
  },
  nonFinite: {
    NaN: 'loses in amax; its own code is -128 (from the definition of the clamp, not observed)',
    '+Inf, -Inf': 'scale Inf, inverse 0: code -128 for the Inf itself, 0 (NaN back) for all others',
  },
  scaleType: 'f32',
  zeroType: null,
  dequantized: 'RN32(code * scale); the original folds the scale instead',
  residual: 'none',
  map: 'channel c of a token: byte c of its row, the scale at byte headSize',
  quantizeGroup,
  dequantizeCode: (_t, code, scale) => Math.fround(signed8(code) * scale),
  exactCode: (_t, code, scale) => signed8(code) * scale,
  arrays: (t) => ({ rows: t.tokens * (t.headSize + 4) }),
  codePlace: (t, token, channel) => ({
    array: 'rows',
    byte: token * (t.headSize + 4) + channel,
    shift: 0,
  }),
  scalePlace: (t, index) => ({
    array: 'rows',
    byte: index * (t.headSize + 4) + t.headSize,
    shift: 0,
  }),
});
