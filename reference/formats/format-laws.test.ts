// Laws that every format keeps, whatever it is: layouts are bijections of their bytes, unpack
// inverts pack both ways, plain values come back within a step, and impossible tensors are refused
// by name.
import { describe, expect, it } from 'vitest';
import { numberTypes } from '../number-type.js';
import { draws } from '../simulated/draw.js';
import {
  type Axis,
  type Codes,
  type FormatSpec,
  groupCount,
  groupIndex,
  type HeadTensor,
} from './format-spec.js';
import { formatNamed, formats } from './index.js';

/** Every tensor, bit width and group of a format, at a size that fills any block. */
function tensors(f: FormatSpec): HeadTensor[] {
  const headSize = f.headSizes[0] ?? 128;
  const given = f.given === undefined ? {} : { given: Math.fround(0.37) };
  return f.bits.flatMap((bits) =>
    f.groups.flatMap((group) =>
      (['k', 'v'] as const).map((tensor) => ({
        ...{ tensor, tokens: 256, headSize, bits, group, input: f.inputs[0] },
        ...given,
      })),
    ),
  );
}

/** Equality of every byte; expect(...).toEqual takes seconds for arrays of this size. */
function same(a: ArrayBufferView, b: ArrayBufferView): boolean {
  const bytes = (x: ArrayBufferView) => Buffer.from(x.buffer, x.byteOffset, x.byteLength);
  return bytes(a).equals(bytes(b));
}

function sameCodes(a: Codes, b: Codes): boolean {
  return same(a.codes, b.codes) && same(a.scales, b.scales) && same(a.zeros, b.zeros);
}

const name = (t: HeadTensor) => `${t.tensor}, ${t.bits} bits, group ${t.group}`;

function randomCodes(f: FormatSpec, t: HeadTensor): Codes {
  const draw = draws(t.bits);
  const groups = groupCount(f.axisOf[t.tensor], t);
  const bits = (type: keyof typeof numberTypes) => () =>
    Math.floor(draw.unit() * 2 ** numberTypes[type].bits);
  return {
    codes: Uint8Array.from({ length: t.tokens * t.headSize }, () => draw.below(2 ** t.bits)),
    scales: Uint32Array.from({ length: groups }, bits(f.scaleType)),
    zeros: Uint32Array.from({ length: f.zeroType ? groups : 0 }, bits(f.zeroType ?? 'f16')),
  };
}

/** Bits of each array that places claim, one entry a bit. */
function claimedBits(f: FormatSpec, t: HeadTensor): Map<string, Uint8Array> {
  const claimed = new Map(
    Object.entries(f.arrays(t)).map(([array, bytes]) => [array, new Uint8Array(bytes * 8)]),
  );
  const claim = (array: string, first: number, count: number) => {
    const bits = claimed.get(array) as Uint8Array;
    if (first < 0 || first + count > bits.length) throw new Error(`${array}: bit ${first} outside`);
    for (let i = first; i < first + count; i++) bits[i]++;
  };
  for (let token = 0; token < t.tokens; token++) {
    for (let channel = 0; channel < t.headSize; channel++) {
      const { array, byte, shift } = f.codePlace(t, token, channel);
      if (shift + t.bits > 8) throw new Error(`${array}: a field crosses a byte`);
      claim(array, 8 * byte + shift, t.bits);
    }
  }
  for (let index = 0; index < groupCount(f.axisOf[t.tensor], t); index++) {
    const scale = f.scalePlace(t, index);
    claim(scale.array, 8 * scale.byte, numberTypes[f.scaleType].bits);
    if (f.zeroPlace === undefined || f.zeroType === null) continue;
    const zero = f.zeroPlace(t, index);
    claim(zero.array, 8 * zero.byte, numberTypes[f.zeroType].bits);
  }
  return claimed;
}

describe.each(formats.map((f) => [f.format, f] as const))('%s', (_, f) => {
  it('states every part of its definition', () => {
    expect(formatNamed(f.format)).toBe(f);
    const texts = [f.source, f.verified, f.rounding, f.zero, f.dequantized, f.residual, f.map];
    for (const text of [...texts, ...f.steps, f.axis.k, f.axis.v, f.given ?? 'none']) {
      expect(text).toMatch(/[a-z]/);
    }
    expect(f.steps.length).toBeGreaterThan(1);
    for (const table of [f.types, f.degenerate, f.nonFinite]) {
      expect(Object.keys(table).length).toBeGreaterThan(0);
      for (const [name, text] of Object.entries(table)) expect(text, name).toMatch(/[a-z]/);
    }
    for (const tensor of ['k', 'v'] as const) {
      expect(['token', 'channel', 'tensor']).toContain(f.axisOf[tensor]);
    }
    expect(f.inputs.map((name) => numberTypes[name].name)).toEqual(f.inputs);
    expect(f.zeroType === null).toBe(f.zeroPlace === undefined);
    const { bits } = numberTypes[f.scaleType];
    expect(numberTypes[f.zeroType ?? f.scaleType].bits, 'width of a zero').toBe(bits);
  });

  it.each(tensors(f).map((t) => [name(t), t] as const))('fills its bytes once: %s', (_name, t) => {
    for (const [array, bits] of claimedBits(f, t)) {
      expect(bits.length, array).toBeGreaterThan(0);
      expect(
        bits.every((count) => count === 1),
        array,
      ).toBe(true);
    }
  });

  it.each(tensors(f).map((t) => [name(t), t] as const))('unpack inverts pack: %s', (_name, t) => {
    const codes = randomCodes(f, t);
    const packed = f.pack(t, codes);
    expect(sameCodes(f.unpack(t, packed), codes)).toBe(true);
    // Every bit pattern is a legal tensor, so the other direction holds for random bytes.
    const draw = draws(7);
    for (const bytes of Object.values(packed)) for (const i of bytes.keys()) bytes[i] = draw.bits();
    const again = f.pack(t, f.unpack(t, packed));
    expect(Object.keys(again)).toEqual(Object.keys(packed));
    for (const array of Object.keys(packed)) expect(same(again[array], packed[array])).toBe(true);
  });

  it.each(tensors(f).map((t) => [name(t), t] as const))(
    'makes every value of its own code, scale and zero: %s',
    (_name, t) => {
      const codes = randomCodes(f, t);
      const axis = f.axisOf[t.tensor];
      const zeroType = f.zeroType && numberTypes[f.zeroType];
      const [x, exact] = [f.dequantize(t, codes), f.exact(t, codes)];
      for (let i = 0; i < x.length; i += 37) {
        const group = groupIndex(axis, t, Math.floor(i / t.headSize), i % t.headSize);
        const scale = numberTypes[f.scaleType].decode(codes.scales[group]);
        const zero = zeroType ? zeroType.decode(codes.zeros[group]) : 0;
        expect(x[i], `element ${i}`).toBe(f.dequantizeCode(t, codes.codes[i], scale, zero));
        expect(exact[i], `element ${i}`).toBe(f.exactCode(t, codes.codes[i], scale, zero));
      }
    },
  );

  it('brings values of its own grid back within a step', () => {
    for (const t of tensors(f)) {
      // Random codes, a power of two as every scale and 0 as every zero.
      const step = 2 ** -3;
      const tensor = f.given === undefined ? t : { ...t, given: step };
      const scale = numberTypes[f.scaleType].encode(f.format === 'nvfp4' ? 1 : step);
      const random = randomCodes(f, t);
      const finite = f.format.startsWith('fp8') ? 0x77 : 0xff;
      const codes: Codes = {
        codes: random.codes.map((code) => code & finite),
        scales: random.scales.fill(scale),
        zeros: random.zeros.fill(0),
      };
      const x = f.exact(tensor, codes);
      expect(same(f.dequantize(tensor, codes), x)).toBe(true);
      // Groups that do not use all codes get another scale. Rounding of codes, scales and fp16
      // steps together stays below one step (two at the top of e2m1).
      const again = f.exact(tensor, f.quantize(tensor, x));
      const limit = f.format === 'nvfp4' ? 2 * step : step;
      const worst = x.reduce((max, value, i) => Math.max(max, Math.abs(again[i] - value)), 0);
      if (f.format.startsWith('fp8')) expect(same(again, x)).toBe(true);
      expect(worst).toBeLessThan(limit);
    }
  });

  it('refuses impossible tensors by name, in one sentence', () => {
    const t = tensors(f)[0];
    const wrong: [string, object][] = [
      ['tensor', { tensor: 'q' }],
      ['bits', { bits: 3 }],
      ['group', { group: 7 }],
      ['input', { input: 'f64' }],
      ['tokens', { tokens: -1 }],
      ['tokens', { tokens: 1.5 }],
      ['headSize', { headSize: 0 }],
      ['given', f.given === undefined ? { given: 1 } : { given: 0 }],
    ];
    if (f.given !== undefined) {
      wrong.push(
        ['given', { given: undefined }],
        ['given', { given: 0.1 }],
        ['given', { given: -1 }],
      );
      wrong.push(['given', { given: Number.NaN }], ['given', { given: Number.POSITIVE_INFINITY }]);
    }
    for (const [field, change] of wrong) {
      const bad = { ...t, ...change } as HeadTensor;
      expect(f.error(bad), JSON.stringify(change)).toMatch(
        new RegExp(`^${f.format}: ${field}: [^\n]+$`),
      );
      expect(() => f.quantize(bad, new Float64Array(0))).toThrow(RangeError);
    }
    expect(f.error(t)).toBeNull();
    expect(f.error({ ...t, bits: 3 })).toBe(
      `${f.format}: bits: 3 is not one of ${f.bits.join(', ')}`,
    );
    const most = 2 ** 31 - 1;
    for (const field of ['tokens', 'headSize'] as const) {
      const of = (count: number) => f.error({ ...t, [field]: count }) ?? '';
      expect(of(most)).not.toContain('is not an integer');
      expect(of(most + 1)).toContain(`${most + 1} is not an integer from `);
      expect(of(most + 1)).toMatch(/ to 2147483647$/);
    }
    const { given, ...rest } = t;
    expect(f.error(rest)).toBe(
      given === undefined ? null : `${f.format}: given: missing, ${f.format} needs ${f.given}`,
    );
  });

  it('rounds what is unrounded to its codes and scales, where it says that', () => {
    if (f.unroundedGroup === undefined) {
      const [t] = tensors(f);
      expect(f.unrounded(t, new Float64Array(t.tokens * t.headSize))).toBeNull();
      return;
    }
    expect(() => f.unrounded(tensors(f)[0], new Float64Array(1))).toThrow('x: length');
    for (const t of tensors(f)) {
      const draw = draws(t.bits);
      const x = Float64Array.from({ length: t.tokens * t.headSize }, () =>
        numberTypes.f16.round(draw.normal()),
      );
      const [codes, unrounded] = [f.quantize(t, x), f.unrounded(t, x)];
      const rounded = unrounded?.codes.map((y) => Math.floor(y + 0.5));
      expect(same(Uint8Array.from(rounded ?? []), codes.codes)).toBe(true);
      const scales = unrounded?.scales.map(numberTypes[f.scaleType].encode);
      expect(same(Uint32Array.from(scales ?? []), codes.scales)).toBe(true);
    }
    const t = tensors(f)[0];
    const constant = f.unrounded(t, new Float64Array(t.tokens * t.headSize).fill(3));
    expect(constant?.codes.every((y) => y === 0)).toBe(true);
    expect(constant?.scales.every((y) => y === 0)).toBe(true);
  });

  it('refuses arrays of another length, and values that its input type does not have', () => {
    const t = tensors(f)[0];
    const codes = randomCodes(f, t);
    const packed = f.pack(t, codes);
    const first = Object.keys(packed)[0];
    const short = { ...packed, [first]: packed[first].subarray(1) };
    expect(() => f.unpack(t, short)).toThrow(`${first}: length`);
    expect(() => f.unpack(t, {})).toThrow(RangeError);
    expect(() => f.pack(t, { ...codes, scales: codes.scales.subarray(1) })).toThrow(
      'scales: length',
    );
    expect(() => f.exact(t, { ...codes, codes: codes.codes.subarray(1) })).toThrow('codes: length');
    expect(() => f.quantize(t, new Float64Array(1))).toThrow('x: length');
    const zeros = new Uint32Array(codes.zeros.length + 1);
    expect(() => f.dequantize(t, { ...codes, zeros })).toThrow('zeros: length');
    const x = new Float64Array(t.tokens * t.headSize);
    for (const i of [5, 0]) {
      x[i] = Math.PI;
      expect(() => f.quantize(t, x)).toThrow(`x[${i}]: 3.14`);
    }
  });

  it('accepts a tensor without tokens', () => {
    for (const t of tensors(f)) {
      const empty = { ...t, tokens: 0 };
      const codes = f.quantize(empty, new Float64Array(0));
      expect(codes.codes.length).toBe(0);
      expect(f.unpack(empty, f.pack(empty, codes))).toEqual(codes);
      expect(f.dequantize(empty, codes)).toEqual(new Float64Array(0));
    }
  });
});

describe('groups', () => {
  const t = { tensor: 'k', tokens: 6, headSize: 4, bits: 4, input: 'f16' } as const;

  it('are numbered along their axis', () => {
    const of = (axis: Axis, group: HeadTensor['group'], token: number, channel: number) =>
      groupIndex(axis, { ...t, group }, token, channel);
    expect(of('token', 2, 3, 1)).toBe(6);
    expect(of('token', 'all', 3, 1)).toBe(3);
    expect(of('channel', 3, 5, 2)).toBe(6);
    expect(of('channel', 'all', 5, 2)).toBe(2);
    expect(of('tensor', 'all', 5, 2)).toBe(0);
  });

  it('of a tensor are one, also without tokens', () => {
    expect(groupCount('tensor', { ...t, group: 'all' })).toBe(1);
    expect(groupCount('tensor', { ...t, group: 'all', tokens: 0 })).toBe(1);
    expect(groupCount('token', { ...t, group: 2, tokens: 0 })).toBe(0);
    expect(groupCount('token', { ...t, group: 2 })).toBe(12);
    expect(groupCount('channel', { ...t, group: 'all' })).toBe(4);
  });
});

describe('the list of formats', () => {
  it('has one entry a name, and nothing for an unknown name', () => {
    expect(new Set(formats.map((f) => f.format)).size).toBe(formats.length);
    expect(formatNamed('int4')).toBeNull();
  });
});
