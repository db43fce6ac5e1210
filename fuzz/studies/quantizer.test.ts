// Tests of the quantiser: the project's format bit for bit, and the variants by what defines them.

import { describe, expect, it } from 'vitest';
import { f16FromF64, f16Round, f16Values } from '../../reference/format.js';
import { quantizeK, quantizeV } from '../../reference/quantize.js';
import type { Scheme } from '../../reference/scheme.js';
import { bitsPerValue, plainQuantizer, type Quantizer, throughCache } from './quantizer.js';

const TOKENS = 128;
const HEAD_SIZE = 128;
const x = Float64Array.from({ length: TOKENS * HEAD_SIZE }, (_, i) =>
  f16Round(Math.sin(i * 12.9898) * (i % 37 === 0 ? 50 : 1) + (i % HEAD_SIZE === 3 ? 20 : 0)),
);
const bits = Uint16Array.from(x, f16FromF64);

function through(q: Quantizer, values = x, tokens = TOKENS, headSize = HEAD_SIZE): Float64Array {
  const out = new Float64Array(values.length);
  throughCache(q, values, tokens, headSize, out);
  return out;
}

describe('throughCache', () => {
  it.each([
    [4, 128],
    [4, 32],
    [2, 64],
    [2, 32],
  ] as const)('is the format of reference/scheme.ts at %i bits, group %i', (width, group) => {
    const scheme: Scheme = { format: 'bitdecoding', kAxis: 'channel', bits: width, group };
    const k = quantizeK(scheme, bits, TOKENS, HEAD_SIZE);
    const v = quantizeV(scheme, bits, TOKENS, HEAD_SIZE);
    const kFound = through(plainQuantizer(width, 'channel', group));
    const vFound = through(plainQuantizer(width, 'token', group));
    for (let i = 0; i < x.length; i++) {
      const [t, d] = [Math.floor(i / HEAD_SIZE), i % HEAD_SIZE];
      const kp = Math.floor(t / group) * HEAD_SIZE + d;
      const vp = Math.floor(i / group);
      expect(kFound[i]).toBe(k.codes[i] * f16Values[k.scales[kp]] + f16Values[k.zeros[kp]]);
      expect(vFound[i]).toBe(v.codes[i] * f16Values[v.scales[vp]] + f16Values[v.zeros[vp]]);
    }
  });

  it('keeps 16 bits as they are, and constant groups at any width', () => {
    expect(through(plainQuantizer(16, 'token', 128))).toEqual(x);
    const constant = new Float64Array(256).fill(f16Round(0.1));
    expect(through(plainQuantizer(1, 'token', 64), constant, 2, 128)).toEqual(constant);
  });

  it('errs less with every further bit', () => {
    const errors = [1, 2, 3, 4, 5, 6, 7, 8].map((width) => {
      const found = through(plainQuantizer(width, 'channel', 32));
      return Math.hypot(...found.map((y, i) => y - x[i]));
    });
    for (let i = 1; i < errors.length; i++) expect(errors[i]).toBeLessThan(errors[i - 1]);
  });

  it('symmetric codes are odd: the negated values give the negated result', () => {
    const q = { ...plainQuantizer(3, 'token', 32), symmetric: true };
    const negated = x.map((value) => -value);
    expect(through(q, negated).map((value) => -value + 0)).toEqual(
      through(q).map((value) => value + 0),
    );
  });

  it('a group at the end of an axis may be short', () => {
    const found = through(plainQuantizer(8, 'channel', 64), x.subarray(0, 100 * 128), 100, 128);
    const tail = through(plainQuantizer(8, 'channel', 36), x.slice(64 * 128, 100 * 128), 36, 128);
    expect(found.subarray(64 * 128)).toEqual(tail);
  });

  it.each([
    ['half-away', [0, 1, 2, 3]],
    ['half-even', [0, 0, 2, 3]],
    ['down', [0, 0, 1, 3]],
  ] as const)('%s rounds 0, 0.5, 1.5 and 3 to %j', (rounding, codes) => {
    const q: Quantizer = { ...plainQuantizer(2, 'token', 4), rounding };
    expect([...through(q, Float64Array.from([0, 0.5, 1.5, 3]), 1, 4)]).toEqual(codes);
  });

  it('stochastic rounding is right on average and a function of its seed', () => {
    const values = new Float64Array(4096).fill(1.25);
    for (let i = 0; i < 4096; i += 64) {
      values[i] = 0;
      values[i + 1] = 3;
    }
    const q: Quantizer = { ...plainQuantizer(2, 'token', 64), rounding: 'stochastic', seed: 5 };
    const found = through(q, values, 32, 128);
    const mean = found.reduce((a, b) => a + b, 0) / found.length;
    const exact = values.reduce((a, b) => a + b, 0) / values.length;
    expect(Math.abs(mean - exact)).toBeLessThan(0.03);
    expect(through(q, values, 32, 128)).toEqual(found);
    expect(through({ ...q, seed: 6 }, values, 32, 128)).not.toEqual(found);
  });

  it('counts scales and zeros as bits', () => {
    expect(bitsPerValue(plainQuantizer(4, 'token', 32))).toBe(5);
    expect(bitsPerValue({ ...plainQuantizer(4, 'token', 32), symmetric: true })).toBe(4.5);
    expect(bitsPerValue(plainQuantizer(16, 'token', 32))).toBe(16);
  });
});
