// Tests of number-type.ts: every code of the small types against its definition, every midpoint,
// ml_dtypes' own conversions, and fma against exact integers.
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { f16FromF64 } from './format.js';
import {
  bf16,
  e2m1,
  e4m3,
  e5m2,
  f16,
  f32,
  fmaF32,
  type NumberType,
  numberTypes,
  roundHalfAway,
  roundHalfEven,
} from './number-type.js';
import { draws } from './simulated/draw.js';
import { recordedBytes, recordedFloats, recordedWords } from './simulated/recorded.js';

const small = [bf16, e4m3, e5m2, e2m1];

/** Positive finite values of a type in rising order: codes 0, 1, ... of its magnitudes. */
function magnitudes(type: NumberType): number[] {
  const values = [];
  for (let code = 0; code < 2 ** (type.bits - 1); code++) {
    const value = type.decode(code);
    if (Number.isFinite(value)) values.push(value);
  }
  return values;
}

describe('codes', () => {
  it('have the names and widths of their types', () => {
    const found = Object.entries(numberTypes).map(([key, { name, bits }]) => [key, name, bits]);
    const widths = { f32: 32, f16: 16, bf16: 16, e4m3: 8, e5m2: 8, e2m1: 4 };
    expect(found).toEqual(Object.entries(widths).map(([name, bits]) => [name, name, bits]));
  });

  it('e2m1 has the sixteen values of the OCP specification', () => {
    const half = [0, 0.5, 1, 1.5, 2, 3, 4, 6];
    const found = Array.from({ length: 16 }, (_, code) => e2m1.decode(code));
    expect(found).toEqual([...half, ...half.map((x) => -x)]);
  });

  it('e4m3 and e5m2 have the limits of the OCP specification', () => {
    expect([e4m3.max, e4m3.decode(1), e4m3.decode(8), e4m3.decode(0x7f)]).toEqual([
      448,
      2 ** -9,
      2 ** -6,
      Number.NaN,
    ]);
    expect([0x7b, 1, 4, 0x7c, 0xfc].map((code) => e5m2.decode(code))).toEqual([
      57344,
      2 ** -16,
      2 ** -14,
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
    ]);
    expect([0x7d, 0x7e, 0x7f, 0xfd].every((code) => Number.isNaN(e5m2.decode(code)))).toBe(true);
    expect(e5m2.max).toBe(57344);
  });

  it('bf16 is the upper half of binary32', () => {
    for (let code = 0; code < 65536; code++) {
      const expected = f32.decode(code * 65536);
      if (!Object.is(bf16.decode(code), expected))
        expect(bf16.decode(code), `${code}`).toBe(expected);
    }
  });

  it('come back from their values, each to its own bits, and every NaN to one', () => {
    for (const type of small) {
      const nan = type.name === 'bf16' ? 0x7fff : 0x7f;
      for (let code = 0; code < 2 ** type.bits; code++) {
        const value = type.decode(code);
        const expected = Number.isNaN(value) ? nan : code;
        if (type.encode(value) !== expected) {
          expect(type.encode(value), `${type.name} ${code}`).toBe(expected);
        }
      }
    }
  });
});

describe('rounding', () => {
  it('breaks ties to the even code and goes to the nearer neighbour beside them', () => {
    for (const type of small) {
      const values = magnitudes(type);
      for (let code = 0; code + 1 < values.length; code++) {
        const middle = (values[code] + values[code + 1]) / 2;
        const ulp = middle * 2 ** -52;
        const expected = [code, code + (code & 1), code + 1];
        for (const sign of [1, -1]) {
          const signBit = sign < 0 ? 2 ** (type.bits - 1) : 0;
          const inputs = [middle - ulp, middle, middle + ulp].map((x) => sign * x);
          for (const encode of [type.encode, type.saturate]) {
            const found = inputs.map((x) => encode(x) - signBit);
            if (found.join() !== expected.join()) {
              expect(found, `${type.name} after ${code}`).toEqual(expected);
            }
          }
        }
      }
    }
  });

  it('above the largest value follows the type, or saturates where that is asked for', () => {
    const inf = Number.POSITIVE_INFINITY;
    expect([448, 464, 464.001, 1e9, inf].map(e4m3.encode)).toEqual([0x7e, 0x7e, 0x7f, 0x7f, 0x7f]);
    expect([-464, -465, -inf].map(e4m3.encode)).toEqual([0xfe, 0xff, 0xff]);
    expect([464.001, inf, -inf].map(e4m3.saturate)).toEqual([0x7e, 0x7e, 0xfe]);
    expect([57344, 61439.9, 61440, inf].map(e5m2.encode)).toEqual([0x7b, 0x7b, 0x7c, 0x7c]);
    expect([61440, inf, -inf].map(e5m2.saturate)).toEqual([0x7b, 0x7b, 0xfb]);
    expect([6, 7, inf, -inf].map(e2m1.encode)).toEqual([7, 7, 7, 15]);
    expect([6, 7, inf, -inf].map(e2m1.saturate)).toEqual([7, 7, 7, 15]);
    expect([bf16.max, 3.4e38, -inf].map(bf16.encode)).toEqual([0x7f7f, 0x7f80, 0xff80]);
    expect([1e5, -inf].map(f16.saturate)).toEqual([0x7bff, 0xfbff]);
    expect([1e39, -inf].map(f32.saturate)).toEqual([0x7f7fffff, 0xff7fffff]);
    expect(f32.max).toBe(f32.decode(0x7f7fffff));
  });

  it('turns NaN into the canonical one', () => {
    const nan = (type: NumberType) => [type.encode(Number.NaN), type.saturate(Number.NaN)];
    expect([e4m3, e5m2, bf16, f16, f32, e2m1].map(nan)).toEqual([
      [0x7f, 0x7f],
      [0x7f, 0x7f],
      [0x7fff, 0x7fff],
      [0x7fff, 0x7fff],
      [0x7fffffff, 0x7fffffff],
      [7, 7],
    ]);
  });

  it('keeps the sign of zero and of what rounds to it', () => {
    for (const type of small) {
      const signBit = 2 ** (type.bits - 1);
      expect([0, -0, 1e-60, -1e-60].map(type.encode)).toEqual([0, signBit, 0, signBit]);
    }
  });

  it('of f16 and f32 is that of format.ts and of Math.fround', () => {
    const draw = draws(3);
    for (let i = 0; i < 2000; i++) {
      const x = draw.normal() * 2 ** (draw.below(60) - 40);
      expect(f16.encode(x)).toBe(f16FromF64(x));
      expect(f16.round(x)).toBe(f16.decode(f16.encode(x)));
      expect(f32.decode(f32.encode(x))).toBe(Math.fround(x));
    }
  });
});

describe('recorded conversions of ml_dtypes', () => {
  const path = new URL('../corpus/vectors/formats/numbers.json', import.meta.url);
  const vectors: { types: { type: keyof typeof numberTypes; [name: string]: string }[] } =
    JSON.parse(readFileSync(path, 'utf8'));

  for (const recorded of vectors.types) {
    const type = numberTypes[recorded.type];
    it(`agree for every number: ${type.name}`, () => {
      const x = recordedFloats(recorded.x);
      const codes = (type.bits === 16 ? recordedWords : recordedBytes)(recorded.codes);
      const wrong = [...x.keys()].filter((i) => {
        const found = type.encode(x[i]);
        // ml_dtypes has another NaN than PTX, of either sign.
        return Number.isNaN(type.decode(found))
          ? !Number.isNaN(type.decode(codes[i]))
          : found !== codes[i];
      });
      expect(x.length).toBeGreaterThan(2000);
      expect(wrong.map((i) => x[i])).toEqual([]);
      if (recorded.decoded === undefined) return;
      const decoded = recordedFloats(recorded.decoded);
      expect(Array.from(decoded, (_, code) => type.decode(code))).toEqual([...decoded]);
      expect(decoded.length).toBe(2 ** type.bits);
    });
  }
});

describe('whole numbers', () => {
  it('roundHalfEven and roundHalfAway differ in ties only', () => {
    const ties = [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5];
    expect(ties.map((x) => roundHalfEven(x) + 0)).toEqual([-2, -2, 0, 0, 2, 2]);
    expect(ties.map(roundHalfAway)).toEqual([-3, -2, -1, 1, 2, 3]);
    const below = 0.5 - 2 ** -54;
    expect([below, -below, 0.75, 3].map((x) => roundHalfEven(x) + 0)).toEqual([0, 0, 1, 3]);
    expect([below, -below, 0.75, 3].map((x) => roundHalfAway(x) + 0)).toEqual([0, 0, 1, 3]);
    for (const whole of [2 ** 52 + 1, 2 ** 53 - 1, 2 ** 60, Number.POSITIVE_INFINITY]) {
      expect([roundHalfEven(whole), roundHalfEven(-whole)]).toEqual([whole, -whole]);
    }
    expect([roundHalfEven(Number.NaN), roundHalfAway(Number.NaN)]).toEqual([
      Number.NaN,
      Number.NaN,
    ]);
    expect(roundHalfAway(Number.NEGATIVE_INFINITY)).toBe(Number.NEGATIVE_INFINITY);
  });
});

/** x as an integer number of 2^-300; x is a finite binary32 or a product of two. */
function units(x: number): bigint {
  let y = x;
  let exponent = 300;
  while (!Number.isInteger(y)) {
    y *= 2;
    exponent--;
  }
  return BigInt(y) << BigInt(exponent);
}

/** An integer number of 2^-300, rounded once to binary32. */
function roundUnits(n: bigint): number {
  const sign = n < 0n ? -1 : 1;
  const magnitude = n < 0n ? -n : n;
  const length = magnitude.toString(2).length;
  const shift = BigInt(Math.max(length - 24, 300 - 149));
  const quotient = magnitude >> shift;
  const rest = magnitude - (quotient << shift);
  const half = 1n << (shift - 1n);
  const up = rest > half || (rest === half && quotient % 2n === 1n);
  return Math.fround(sign * Number(quotient + (up ? 1n : 0n)) * 2 ** (Number(shift) - 300));
}

describe('fmaF32', () => {
  it('equals the exact product and sum, rounded once', () => {
    const draw = draws(9);
    for (let i = 0; i < 3000; i++) {
      const a = Math.fround(draw.normal());
      const b = Math.fround(draw.normal() * 2 ** (draw.below(20) - 10));
      const c = Math.fround(draw.normal() * 2 ** (draw.below(60) - 40));
      expect(fmaF32(a, b, c)).toBe(roundUnits(units(a * b) + units(c)));
    }
  });

  it('rounds once where the float64 sum loses what decides a tie of binary32', () => {
    // 97 * 257 * 673 = 2^24 + 1, so the product is 1 + 2^-24, halfway from 1 to 1 + 2^-23.
    const [p, q] = [97 * 257, 673 * 2 ** -24];
    for (const c of [2 ** -90, -(2 ** -90)]) {
      expect(fmaF32(p, q, c)).toBe(c > 0 ? 1 + 2 ** -23 : 1);
      expect(fmaF32(-p, q, c)).toBe(c > 0 ? -1 : -(1 + 2 ** -23));
      expect(Math.fround(p * q + c)).toBe(1); // two roundings lose c
      expect(fmaF32(1, 1, c)).toBe(1); // all low bits of the sum are 0
    }
  });

  it('sees on which side of a tie the sum is where float64 puts it on the tie or beside it', () => {
    // (1 + i 2^-23) (1 - i 2^-23) = 1 - i^2 2^-46: less than half an ulp by up to 2 ulp of float64.
    for (let i = 0; i < 700; i++) {
      const [a, b] = [1 + i * 2 ** -23, (1 - i * 2 ** -23) * 2 ** -24];
      for (const c of [1, 1 + 2 ** -23, 1.5, 2 - 2 ** -23]) {
        for (const [x, y] of [1, -1].flatMap((s) => [1, -1].map((t) => [s * a, t * c]))) {
          expect(fmaF32(x, b, y)).toBe(roundUnits(units(x * b) + units(y)));
        }
      }
    }
  });

  it('follows IEEE arithmetic on Inf, NaN and zero', () => {
    const inf = Number.POSITIVE_INFINITY;
    expect([fmaF32(-inf, 1, 1), fmaF32(1, 1, -inf)]).toEqual([-inf, -inf]);
    expect([fmaF32(inf, 1, 1), fmaF32(inf, 0, 1), fmaF32(inf, 1, -inf)]).toEqual([
      inf,
      Number.NaN,
      Number.NaN,
    ]);
    expect(fmaF32(3, 2, -6)).toBe(0);
    expect(fmaF32(0, -1, -0)).toBe(-0);
  });
});
