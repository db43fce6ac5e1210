// Tests of the formats with one scale for a token of a head: QServe ZINT4, TurboMind u4 and u8,
// vLLM int8. Groups worked out by hand, layouts written out, and what becomes of degenerate groups.
import { describe, expect, it } from 'vitest';
import { f16Round } from '../format.js';
import { e2m1, e4m3, e5m2 } from '../number-type.js';
import type { FormatSpec, HeadTensor } from './format-spec.js';
import { fp8E4m3PerHead } from './fp8-per-head.js';
import { fp8E4m3PerTensor, fp8E5m2PerTensor } from './fp8-per-tensor.js';
import { nvfp4 } from './nvfp4.js';
import { oneGroup } from './one-group.js';
import { qserveZint4 } from './qserve-zint4.js';
import { turbomindU4, turbomindU8 } from './turbomind.js';
import { vllmInt8 } from './vllm-int8.js';

const nan = Number.NaN;
const inf = Number.POSITIVE_INFINITY;

function tensor(f: FormatSpec, change: Partial<HeadTensor> = {}): HeadTensor {
  const [bits, group, input] = [f.bits[0], f.groups[0], f.inputs[0]];
  return { tensor: 'k', tokens: 1, headSize: 64, bits, group, input, ...change };
}

/** Bytes of codes 0, 1, 2, ... (mod 2^bits) in one row. */
function rowBytes(f: FormatSpec, array: string, count: number): number[] {
  const t = tensor(f, f.given === undefined ? {} : { given: 1 });
  const codes = Uint8Array.from({ length: 64 }, (_, i) => i % 2 ** t.bits);
  const scales = Uint32Array.from({ length: f === nvfp4 ? 4 : 1 }, () => 0x11223344);
  const zeros = f.zeroType ? scales : new Uint32Array(0);
  return [...f.pack(t, { codes, scales, zeros })[array].subarray(0, count)];
}

describe('qserve-zint4', () => {
  it('has the head sizes of its kernels', () => {
    expect(
      [64, 128, 256].map((n) => qserveZint4.error(tensor(qserveZint4, { headSize: n }))),
    ).toEqual([null, null, null]);
    expect(qserveZint4.error(tensor(qserveZint4, { headSize: 96 }))).toBe(
      'qserve-zint4: headSize: 96 is not one of 64, 128, 256',
    );
  });

  const group = (...values: number[]) => oneGroup(qserveZint4, tensor(qserveZint4), values);

  it('has a zero in code units and rounds ties to even', () => {
    expect(group(-3, 12, 0, 0.5, 1.5, 2.5)).toEqual({
      codes: [0, 15, 3, 4, 4, 6],
      scale: 1,
      zero: 3,
      values: [-3, 12, 0, 1, 1, 3],
    });
  });

  it('makes codes with the rounded scale and one rounding for product and sum', () => {
    const [low, high] = [0.1, 7.3].map(f16Round);
    const scale = f16Round(Math.fround(Math.fround(high - low) / 15));
    const zero = f16Round(Math.fround(Math.fround(-15 * low) / Math.fround(high - low)));
    const found = group(0.1, 7.3);
    expect(found).toMatchObject({ scale, zero });
    expect(found.values[1]).toBe(f16Round(15 * scale + f16Round(-scale * zero)));
  });

  it('wraps 16 to 0 far from zero', () => {
    // 15 steps of 1 / 4 above 2000: the zero -8000 has steps of 4 in fp16, and codes shift past 15.
    const found = group(2000, 2003, 2001, 2002);
    const step = f16Round(3 / 15);
    expect(found.zero).toBe(f16Round(-15 * (2000 / 3)));
    const unwrapped = [2000, 2003, 2001, 2002].map((x) =>
      Math.min(Math.max(Math.round(x / step + found.zero), 0), 255),
    );
    expect(unwrapped.some((code) => code > 15)).toBe(true);
    expect(found.codes).toEqual(unwrapped.map((code) => code % 16));
  });

  it('loses constant groups and groups with Inf to NaN', () => {
    expect(group(5)).toMatchObject({ codes: [0], scale: 0, zero: -inf, values: [nan] });
    expect(group(-5)).toMatchObject({ codes: [0], scale: 0, zero: inf, values: [nan] });
    expect(group(0)).toMatchObject({ codes: [0], scale: 0, zero: nan, values: [nan] });
    expect(group(inf, 1)).toMatchObject({ codes: [0, 0], scale: inf, values: [nan, nan] });
    expect(group(-inf, 1)).toMatchObject({ scale: inf, zero: nan, values: [nan, nan] });
    expect(group(nan, 0, 15)).toMatchObject({ codes: [0, 0, 15], scale: 1, zero: -0 });
    expect(group(nan)).toMatchObject({ codes: [0], scale: nan, zero: nan });
  });

  it('puts the even channel into the low nibble', () => {
    expect(rowBytes(qserveZint4, 'codes', 3)).toEqual([0x10, 0x32, 0x54]);
    expect(rowBytes(qserveZint4, 'zeros', 2)).toEqual([0x44, 0x33]);
  });

  it('says what codes and parameters mean without rounding', () => {
    const t = tensor(qserveZint4);
    const codes = qserveZint4.quantize(
      t,
      Float64Array.from({ length: 64 }, (_, i) => (i % 2 ? 7 : 0.125)),
    );
    const found = oneGroup(qserveZint4, t, [0.125, 7]);
    expect(qserveZint4.exact(t, codes)[1]).toBe(found.scale * (15 - found.zero));
  });
});

describe('turbomind', () => {
  const u4 = (...values: number[]) => oneGroup(turbomindU4, tensor(turbomindU4), values);
  const u8 = (...values: number[]) => oneGroup(turbomindU8, tensor(turbomindU8), values);

  it('subtracts the minimum and rounds ties to even', () => {
    expect(u4(-1, 14, -0.5, 0.5, 1.5)).toEqual({
      codes: [0, 15, 0, 2, 2],
      scale: 1,
      zero: -1,
      values: [-1, 14, -1, 1, 1],
    });
    expect(u8(0, 255, 0.5, 1.5, 100.5)).toMatchObject({ codes: [0, 255, 0, 2, 100], scale: 1 });
  });

  it('multiplies with the rounded inverse of the rounded scale, in fp16 steps', () => {
    const [low, high, x] = [0.1, 7.3, 3].map(f16Round);
    const scale = f16Round(Math.fround(Math.fround(high - low) * Math.fround(1 / 15)));
    const inverse = f16Round(1 / scale);
    const found = u4(0.1, 7.3, 3);
    expect(found.scale).toBe(scale);
    expect(found.codes[2]).toBe(Math.round(f16Round(f16Round(x - low) * inverse)));
    expect(found.values[2]).toBe(f16Round(found.codes[2] * scale + low));
    // The product of an inverse that was rounded up exceeds 15: it is cut.
    expect(found.codes[1]).toBe(15);
  });

  it('keeps constant groups; Inf turns a group to NaN', () => {
    expect(u4(5)).toEqual({ codes: [0], scale: 0, zero: 5, values: [5] });
    expect(u8(-7)).toEqual({ codes: [0], scale: 0, zero: -7, values: [-7] });
    expect(u4(inf, 1)).toMatchObject({ codes: [0, 0], scale: inf, values: [nan, nan] });
    expect(u4(-inf, 1)).toMatchObject({ scale: inf, zero: -inf, values: [nan, nan] });
    expect(u4(nan, 0, 15)).toMatchObject({ codes: [0, 0, 15], scale: 1, zero: 0 });
    expect(u4(nan)).toMatchObject({ codes: [0], scale: -inf, zero: inf, values: [nan] });
  });

  it('overflows x - min and 1 / scale as fp16 does', () => {
    // scale 8736, inverse 1920 * 2^-24: 65504 of it is 7.496 where 7.5 is meant; 131008 is Inf.
    expect(u4(-65504, 65504, 0).codes).toEqual([0, 15, 7]);
    // A scale below 2^-16 has an infinite inverse.
    expect(u4(0, 2 ** -20, 2 ** -24)).toMatchObject({ codes: [0, 15, 15], scale: 2 ** -24 });
  });

  it('orders nibbles 0 2 4 6 1 3 5 7', () => {
    expect(rowBytes(turbomindU4, 'codes', 8)).toEqual(
      [0x20, 0x64, 0x31, 0x75, 0xa8, 0xec, 0xb9, 0xfd], // low nibble first
    );
    expect(rowBytes(turbomindU8, 'codes', 4)).toEqual([0, 1, 2, 3]);
    expect(rowBytes(turbomindU4, 'params', 4)).toEqual([0x44, 0x33, 0x44, 0x33]);
    expect(turbomindU4.error(tensor(turbomindU4, { headSize: 12 }))).toContain('multiple of 8');
  });
});

describe('vllm-int8_per_token_head', () => {
  const group = (...values: number[]) => oneGroup(vllmInt8, tensor(vllmInt8), values);

  it('rounds ties to even around zero, where the older version truncated', () => {
    expect(group(127, -127, 0.5, 1.5, -2.5, 2.75)).toMatchObject({
      codes: [127, 129, 0, 2, 254, 3],
      scale: 1,
      values: [127, -127, 0, 2, -2, 3],
    });
  });

  it('has a smallest scale', () => {
    const found = oneGroup(vllmInt8, tensor(vllmInt8, { input: 'f32' }), [1e-6, -3e-6, 0]);
    expect(found).toMatchObject({ codes: [1, 253, 0], scale: Math.fround(1e-6) });
    expect(group(0)).toMatchObject({ codes: [0], scale: Math.fround(1e-6), values: [0] });
  });

  it('keeps NaN out of the scale; Inf takes the token with it', () => {
    expect(group(nan, 127, 1)).toMatchObject({ codes: [128, 127, 1], scale: 1 });
    expect(group(inf, 1)).toMatchObject({ codes: [128, 0], scale: inf, values: [-inf, nan] });
  });

  it('stores the scale behind the data of its row', () => {
    const t = tensor(vllmInt8, { tokens: 2 });
    const codes = { codes: new Uint8Array(128).fill(1), zeros: new Uint32Array(0) };
    const scales = Uint32Array.of(0x11223344, 0x55667788);
    const { rows } = vllmInt8.pack(t, { ...codes, scales });
    expect([...rows.subarray(62, 70)]).toEqual([1, 1, 0x44, 0x33, 0x22, 0x11, 1, 1]);
    expect([...rows.subarray(132)]).toEqual([0x88, 0x77, 0x66, 0x55]);
  });
});

describe('fp8', () => {
  const quantize = (f: FormatSpec, given: number, ...values: number[]) => {
    const x = Float64Array.from(values);
    const t = tensor(f, { given, headSize: values.length, input: 'f32' });
    const codes = f.quantize(t, x);
    return {
      codes: [...codes.codes],
      values: [...f.dequantize(t, codes)],
      scales: [...codes.scales],
    };
  };

  it('divides by the given scale and saturates', () => {
    expect(quantize(fp8E4m3PerTensor, 0.5, 224, 225, 1e9, -inf, 0.5, -0)).toEqual({
      codes: [0x7e, 0x7e, 0x7e, 0xfe, 0x38, 0x80],
      values: [224, 224, 224, -224, 0.5, -0],
      scales: [0x3f000000],
    });
    expect(quantize(fp8E5m2PerTensor, 1, 57344, 1e9, nan, 1).codes).toEqual([
      0x7b, 0x7b, 0x7f, 0x3c,
    ]);
    expect(quantize(fp8E4m3PerHead, 1, nan).values).toEqual([nan]);
  });

  it('rounds the quotient to binary32 before it rounds to 8 bits', () => {
    const scale = Math.fround(1 / 3);
    for (let i = 1; i < 400; i++) {
      const x = Math.fround(i * 0.37);
      const y = Math.fround(x / scale);
      expect(quantize(fp8E4m3PerHead, scale, x).codes).toEqual([e4m3.saturate(y)]);
      expect(quantize(fp8E5m2PerTensor, scale, x).codes).toEqual([e5m2.saturate(y)]);
    }
  });
});

describe('nvfp4', () => {
  const block = (given: number, ...values: number[]) =>
    oneGroup(nvfp4, tensor(nvfp4, { given, headSize: 16 }), values);

  it('scales the largest magnitude of a block to 6', () => {
    expect(block(1, 12, -6, 1, 0.5, -0.25, 2.5)).toEqual({
      codes: [7, 13, 1, 0, 8, 2],
      scale: 2,
      zero: nan,
      values: [12, -6, 1, 0, -0, 2],
    });
  });

  it('makes codes with the rounded block scale', () => {
    const scale = e4m3.round(Math.fround(Math.fround(7.3) * Math.fround(1 / 6)));
    const x = f16Round(7.3);
    const found = block(1, 7.3);
    expect(found.scale).toBe(scale);
    expect(found.codes).toEqual([e2m1.saturate(Math.fround(x * Math.fround(1 / scale)))]);
  });

  it('treats zero, tiny, huge, infinite and NaN blocks as its arithmetic does', () => {
    expect(block(1, 0, -0)).toMatchObject({ codes: [0, 8], scale: 0, values: [0, -0] });
    expect(block(1, 2 ** -8, 0)).toMatchObject({ codes: [7, 7], scale: 0, values: [0, 0] });
    expect(block(1, 60000, 1)).toMatchObject({ codes: [7, 0], scale: 448, values: [2688, 0] });
    expect(block(1, -inf, 448)).toMatchObject({ codes: [15, 2], scale: 448, values: [-2688, 448] });
    expect(block(1, nan, 6)).toMatchObject({ codes: [7, 7], scale: 1, values: [6, 6] });
    expect(block(1, nan)).toMatchObject({ codes: [7], scale: nan, values: [nan] });
  });

  it('applies the global scale and rounds to the input type', () => {
    const given = Math.fround(0.3);
    const found = block(given, 3, 1);
    const blockScale = e4m3.round(Math.fround(Math.fround(1 / given) * Math.fround(3 / 6)));
    expect(found.scale).toBe(blockScale);
    expect(found.values[0]).toBe(
      f16Round(Math.fround(e2m1.decode(found.codes[0]) * blockScale * given)),
    );
  });

  it('puts the even channel into the low nibble and scales in order', () => {
    expect(rowBytes(nvfp4, 'codes', 3)).toEqual([0x10, 0x32, 0x54]);
    expect(rowBytes(nvfp4, 'scales', 4)).toEqual([0x44, 0x44, 0x44, 0x44]);
  });
});
