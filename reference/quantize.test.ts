// Tests of quantize.ts: the single-rounding claim by integers, the degenerate groups of the spec,
// and the bits of a group worked out by hand.
import { describe, expect, it } from 'vitest';
import { f16FromF64, f16Values, f64FromF16 } from './format.js';
import { parameterCounts, quantizeK, quantizeV } from './quantize.js';
import type { Scheme } from './scheme.js';
import { draws, normalF16 } from './simulated/draw.js';

const scheme: Scheme = { format: 'bitdecoding', kAxis: 'channel', bits: 4, group: 32 };

/** x = significand * 2^exponent, exactly; x is finite. */
function rational(x: number): { significand: bigint; exponent: number } {
  let exponent = 0;
  let y = x;
  while (!Number.isInteger(y)) {
    y *= 2;
    exponent--;
  }
  return { significand: BigInt(y), exponent };
}

/** numerator / denominator * 2^exponent rounded once to binary32, ties to even; all positive. */
function roundRational(numerator: bigint, denominator: bigint, exponent: number): number {
  let shift = 0;
  let n = numerator;
  let d = denominator;
  while (n / d < 2n ** 23n) {
    n *= 2n;
    shift--;
  }
  while (n / d >= 2n ** 24n) {
    d *= 2n;
    shift++;
  }
  let quotient = n / d;
  const twice = 2n * (n % d);
  if (twice > d || (twice === d && quotient % 2n === 1n)) quotient += 1n;
  return Number(quotient) * 2 ** (shift + exponent);
}

/** One group of 32 values down a channel, as (32, 1). */
function group(values: readonly number[]) {
  const x = Uint16Array.from({ length: 32 }, (_, i) => f16FromF64(values[i % values.length]));
  const q = quantizeK(scheme, x, 32, 1);
  return { codes: [...q.codes.subarray(0, values.length)], scale: q.scales[0], zero: q.zeros[0] };
}

describe('one float64 operation and one fround', () => {
  it('equals the correctly rounded binary32 quotient and product', () => {
    const draw = draws(1);
    for (let i = 0; i < 3000; i++) {
      const x = Math.fround((draw.unit() + 2 ** -20) * 2 ** (draw.below(40) - 20));
      const y = Math.fround((draw.unit() + 2 ** -20) * 2 ** (draw.below(40) - 20));
      const a = rational(x);
      const b = rational(y);
      const quotient = roundRational(a.significand, b.significand, a.exponent - b.exponent);
      expect(Math.fround(x / y)).toBe(quotient);
      const product = roundRational(a.significand * b.significand, 1n, a.exponent + b.exponent);
      expect(Math.fround(x * y)).toBe(product);
    }
  });

  it('equals the correctly rounded inverse for every integer divisor of a range', () => {
    for (let range = 1; range < 40000; range += 7) {
      expect(Math.fround(15 / range)).toBe(roundRational(15n, BigInt(range), 0));
    }
  });
});

describe('quantizeK', () => {
  it('gives the codes, scale and zero of a group worked out by hand', () => {
    // range 30, inverse 0.5: codes are (x - min) / 2, and 1 / inverse is 2.
    expect(group([-10, 20, -9, 0, 5.5])).toEqual({
      codes: [0, 15, 1, 5, 8], // 0.5 and 7.75 round up; half goes away from zero
      scale: f16FromF64(2),
      zero: f16FromF64(-10),
    });
  });

  it('makes codes with the unrounded inverse, not with the stored scale', () => {
    // range 7.001953125 (fp16): the stored scale is rounded, and code * scale misses the maximum.
    const max = f64FromF16(f16FromF64(7.002));
    const { codes, scale } = group([0, max, max / 2]);
    expect(codes).toEqual([0, 15, 8]);
    expect(15 * f16Values[scale]).not.toBe(max);
  });

  it('follows the spec on degenerate groups', () => {
    const inf = Number.POSITIVE_INFINITY;
    const bits = (x: number) => f16FromF64(x);
    expect(group([3, 3])).toEqual({ codes: [0, 0], scale: 0, zero: bits(3) });
    expect(group([inf, 1, 2])).toEqual({ codes: [0, 0, 0], scale: 0, zero: bits(1) });
    expect(group([-inf, 1])).toEqual({ codes: [0, 0], scale: 0, zero: bits(-inf) });
    expect(group([-inf])).toEqual({ codes: [0], scale: 0, zero: bits(-inf) });
    expect(group([Number.NaN, 0, 15])).toEqual({ codes: [0, 0, 15], scale: bits(1), zero: 0 });
    expect(group([Number.NaN])).toEqual({ codes: [0], scale: 0, zero: bits(inf) });
    expect(group([0, -0])).toEqual({ codes: [0, 0], scale: 0, zero: 0x8000 });
    expect(group([-15, -0])).toEqual({ codes: [0, 15], scale: bits(1), zero: bits(-15) });
    expect(group([-0, 0])).toEqual({ codes: [0, 0], scale: 0, zero: 0x8000 });
  });

  it('loses a subnormal scale and keeps its codes, as BitDecoding does', () => {
    const { codes, scale } = group([0, 1, 2, 3, 4, 5, 6].map((i) => i * 2 ** -24));
    expect(codes).toEqual([0, 3, 5, 8, 10, 13, 15]);
    expect(scale).toBe(0);
  });

  it('takes the largest binary16 range without overflow', () => {
    const { codes, scale } = group([-65504, 65504]);
    expect(codes).toEqual([0, 15]);
    expect(f16Values[scale]).toBe(f16Values[f16FromF64(131008 / 15)]);
  });
});

describe('the two axes', () => {
  it('K of a matrix is V of its transpose', () => {
    const x = normalF16(draws(5), 128 * 128);
    x[0] = f16FromF64(100); // the largest of its group is its first
    const transposed = x.map((_, i) => x[(i % 128) * 128 + Math.floor(i / 128)]);
    const k = quantizeK(scheme, x, 128, 128);
    const v = quantizeV(scheme, transposed, 128, 128);
    for (const { codes, scales, zeros } of [k, v]) {
      expect([codes.length, scales.length, zeros.length]).toEqual([128 * 128, 512, 512]);
    }
    for (let t = 0; t < 128; t++) {
      for (let d = 0; d < 128; d++) {
        expect(k.codes[t * 128 + d]).toBe(v.codes[d * 128 + t]);
        expect(k.scales[(t >> 5) * 128 + d]).toBe(v.scales[d * 4 + (t >> 5)]);
        expect(k.zeros[(t >> 5) * 128 + d]).toBe(v.zeros[d * 4 + (t >> 5)]);
      }
    }
  });

  it('K per token is quantised as V is, and has as many scales', () => {
    const perToken: Scheme = { ...scheme, kAxis: 'token' };
    const x = normalF16(draws(2), 64 * 64);
    const k = quantizeK(perToken, x, 64, 64);
    expect(k).toEqual(quantizeV(perToken, x, 64, 64));
    expect(k.scales).not.toEqual(quantizeK(scheme, x, 64, 64).scales);
    // A group of 128 channels ends with a head of 64, one of 128 tokens does not.
    const counts = (kAxis: Scheme['kAxis']) =>
      parameterCounts({ ...scheme, kAxis, group: 128 }, 256, 64);
    expect(counts('token')).toEqual({ k: 256, v: 256 });
    expect(counts('channel')).toEqual({ k: 128, v: 256 });
  });

  it('reconstructs within half a step and the rounding of the scale', () => {
    for (const bits of [4, 2] as const) {
      const x = normalF16(draws(6), 128 * 128);
      const { codes, scales, zeros } = quantizeV({ ...scheme, bits }, x, 128, 128);
      for (let i = 0; i < x.length; i++) {
        const parameter = Math.floor(i / 32);
        const scale = f16Values[scales[parameter]];
        const error = codes[i] * scale + f16Values[zeros[parameter]] - f16Values[x[i]];
        expect(Math.abs(error)).toBeLessThanOrEqual(scale * (0.5 + 15 * 2 ** -11 + 2 ** -20));
      }
    }
  });
});
