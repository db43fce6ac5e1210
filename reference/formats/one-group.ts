/**
 * One group through a format, for tests: short lists of values in, codes and parameter values out.
 * The values are repeated to fill the smallest tensor that the format takes.
 */
import { numberTypes } from '../number-type.js';
import type { FormatSpec, HeadTensor } from './format-spec.js';

export interface OneGroup {
  /** of the values given, as stored */
  readonly codes: number[];
  readonly scale: number;
  /** NaN without zeros */
  readonly zero: number;
  /** dequantised as the original does */
  readonly values: number[];
}

/** t's tensor should be grouped along tokens or channels; the first group is reported. */
export function oneGroup(f: FormatSpec, t: HeadTensor, values: readonly number[]): OneGroup {
  const { round } = numberTypes[t.input];
  const x = new Float64Array(t.tokens * t.headSize);
  const alongTokens = f.axisOf[t.tensor] === 'channel';
  for (let i = 0; i < x.length; i++) {
    const position = alongTokens ? Math.floor(i / t.headSize) : i % t.headSize;
    x[i] = round(values[position % values.length]);
  }
  const codes = f.quantize(t, x);
  const dequantized = f.dequantize(t, codes);
  const stride = alongTokens ? t.headSize : 1;
  return {
    codes: values.map((_, i) => codes.codes[i * stride]),
    scale: numberTypes[f.scaleType].decode(codes.scales[0]),
    zero: f.zeroType ? numberTypes[f.zeroType].decode(codes.zeros[0]) : Number.NaN,
    values: values.map((_, i) => dequantized[i * stride]),
  };
}
