/**
 * What the fp8 formats share: 8-bit floats with a scale that is given (calibrated, or 1), never
 * derived from the values.
 *
 * Source: vLLM csrc/quantization/w8a8/fp8 (scaled_convert: __nv_cvt_float_to_fp8 of x / scale with
 * __NV_SATFINITE), FlashInfer and FlashAttention-3 (descales). PyTorch's own cast differs above the
 * largest value: NaN for e4m3, Inf for e5m2, which is NumberType.encode.
 *
 * Layout of one KV head: codes uint8 (tokens, headSize); scale fp32 (1).
 */
import { f32, type NumberType } from '../number-type.js';
import type { Axis, FormatDefinition, TensorName } from './format-spec.js';

const whole: Readonly<Record<TensorName, Axis>> = { k: 'tensor', v: 'tensor' };

/** A format of 8-bit floats of `type` whose scale belongs to `owner`. */
export function fp8Definition(type: NumberType, format: string, owner: string): FormatDefinition {
  const top = `${type.max}`;
  return {
    format,
    source: 'vLLM csrc/quantization (scaled_convert), FlashInfer, FlashAttention-3 hopper/',
    verified:
      'codec against ml_dtypes on a CPU and PyTorch on a GPU: numbers.json and fp8-torch.json of ' +
      "corpus/vectors/formats; vLLM's conversion was not run",
    bits: [8],
    groups: ['all'],
    headSizes: [],
    inputs: ['f16', 'bf16', 'f32'],
    axis: { k: `one scale: ${owner}`, v: `one scale: ${owner}` },
    axisOf: whole,
    steps: ['y = RN32(x / scale)', `code = cvt.rn.satfinite.${type.name}(y)`],
    rounding: 'half to even, in the 8-bit type',
    zero: 'none: x = scale code',
    types: { 'x, scale, y': 'binary32', code: type.name },
    degenerate: {
      'x == 0': 'code 0 or 0x80, the sign is kept',
      [`|x| > ${top} scale`]: `the largest finite code, ${top}`,
    },
    nonFinite: { NaN: 'code 0x7f (NaN)', '+Inf, -Inf': `the largest finite code, ${top}` },
    given: `the scale, one ${owner}`,
    scaleType: 'f32',
    zeroType: null,
    dequantized: 'RN32(code * scale); kernels fold the scale into scores or outputs',
    residual: 'none',
    map: 'one byte a channel, in order',
    quantizeGroup: (t, x, codes) => {
      const scale = t.given as number;
      for (let i = 0; i < x.length; i++) codes[i] = type.saturate(Math.fround(x[i] / scale));
      return { scale: f32.encode(scale), zero: 0 };
    },
    dequantizeCode: (_t, code, scale) => Math.fround(type.decode(code) * scale),
    exactCode: (_t, code, scale) => type.decode(code) * scale,
    arrays: (t) => ({ codes: t.tokens * t.headSize, scale: 4 }),
    codePlace: (t, token, channel) => ({
      array: 'codes',
      byte: token * t.headSize + channel,
      shift: 0,
    }),
    scalePlace: () => ({ array: 'scale', byte: 0, shift: 0 }),
  };
}
