/**
 * The quantised cache of ONNX Runtime's GroupQueryAttention (com.microsoft), PER_CHANNEL: signed
 * integers of 8 or 4 bits with one fp32 scale for a channel of a KV head.
 *
 * Source: the operator's documentation (symmetric, scales are inputs, 4 bits are packed two in a
 * byte); rounding, limits and the order of the two in a byte are what ONNX Runtime 1.30.0 does on a
 * CPU: corpus/vectors/formats/onnx-gqa.json. Scales come from the caller; here, as the adapter
 * gives them, from the finite values of the channel.
 *
 * Layout of one KV head: codes (tokens, headSize bits / 8), the even channel in the low half of a
 * byte; scale fp32 (headSize).
 */
import { f32, roundHalfEven } from '../number-type.js';
import { defineFormat } from './define-format.js';
import type { FormatSpec, GroupResult, HeadTensor } from './format-spec.js';
import { absoluteMax } from './rounding.js';

/** The largest code; the least is one below its negative. */
function top(t: HeadTensor): number {
  return 2 ** (t.bits - 1) - 1;
}

/** Stored fields: two's complement at 8 bits, code + 8 at 4. */
function field(t: HeadTensor, code: number): number {
  return t.bits === 8 ? code & 255 : code + 8;
}

function signed(t: HeadTensor, stored: number): number {
  return t.bits === 8 ? (stored << 24) >> 24 : stored - 8;
}

function quantizeGroup(t: HeadTensor, x: Float64Array, codes: Uint8Array): GroupResult {
  const { fround } = Math;
  const amax = absoluteMax(x.filter(Number.isFinite));
  const scale = amax === 0 ? 1 : fround(amax / top(t));
  const inverse = fround(1 / scale);
  for (let i = 0; i < x.length; i++) {
    const code = roundHalfEven(fround(x[i] * inverse));
    const cut = Number.isNaN(code) ? top(t) : Math.min(Math.max(code, -top(t) - 1), top(t));
    codes[i] = field(t, cut);
  }
  return { scale: f32.encode(scale), zero: 0 };
}

export const onnxGqa: FormatSpec = defineFormat({
  format: 'onnx-gqa-per-channel',
  source: 'onnxruntime.ai, com.microsoft.GroupQueryAttention (ContribOperators.md)',
  verified: 'vectors of the original on a CPU: corpus/vectors/formats/onnx-gqa.json',
  bits: [8, 4],
  groups: ['all'],
  headSizes: [],
  inputs: ['f16'],
  axis: { k: 'one channel of one head', v: 'one channel of one head' },
  axisOf: { k: 'channel', v: 'channel' },
  steps: [
    'scale = RN32(largest finite magnitude / (2^(bits - 1) - 1)), by the caller',
    'inverse = RN32(1 / scale)',
    'code = clamp(round(RN32(x * inverse)), -2^(bits - 1), 2^(bits - 1) - 1)',
  ],
  rounding: 'half to even, then clamp',
  zero: 'none: x = scale code; 4 bits store code + 8',
  types: { 'scale, inverse, product': 'binary32' },
  degenerate: { 'no magnitude above 0': 'scale 1 (the caller), codes 0' },
  nonFinite: {
    NaN: 'the largest code: a number like any other when it is read back',
    '+Inf, -Inf': 'the largest and the least code',
  },
  scaleType: 'f32',
  zeroType: null,
  dequantized: 'RN32(code * scale); kernels may fold the scale',
  residual: 'none',
  map: '8 bits: channel c is byte c of its row; 4 bits: the low or high half of byte c / 2',
  quantizeGroup,
  dequantizeCode: (t, code, scale) => Math.fround(signed(t, code) * scale),
  exactCode: (t, code, scale) => signed(t, code) * scale,
  shapeError: (t) =>
    t.bits === 4 && t.headSize % 2 !== 0 ? `headSize: ${t.headSize} is odd at 4 bits` : null,
  arrays: (t) => ({
    codes: (t.tokens * t.headSize * t.bits) / 8,
    scale: t.tokens === 0 ? 0 : 4 * t.headSize,
  }),
  codePlace: (t, token, channel) => {
    const bit = (token * t.headSize + channel) * t.bits;
    return { array: 'codes', byte: bit >>> 3, shift: bit & 7 };
  },
  scalePlace: (_t, index) => ({ array: 'scale', byte: 4 * index, shift: 0 }),
});
