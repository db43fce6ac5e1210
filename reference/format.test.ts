// Tests of format.ts against binary16 as IEEE 754 defines it, by exact integer arithmetic.
import { describe, expect, it } from 'vitest';
import {
  bf16FromF64,
  bf16Values,
  elementRound,
  elementWords,
  exponentOf,
  f16FromF64,
  f16Round,
  f16Values,
  f64Array,
  powerOfTwo,
  significand11,
} from './format.js';
import { draws } from './simulated/draw.js';

/** Value of finite binary16 bits in units of 2^-24, an integer below 2^41, from the definition. */
function quanta(bits: number): number {
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  return exponent === 0 ? fraction : (1024 + fraction) * 2 ** (exponent - 1);
}

describe('binary16', () => {
  it('decodes every one of the 65536 values as IEEE 754 defines them', () => {
    for (let bits = 0; bits < 65536; bits++) {
      const sign = bits >> 15 ? -1 : 1;
      const magnitude = bits & 0x7fff;
      let value = sign * quanta(bits) * 2 ** -24;
      if (magnitude === 0x7c00) value = sign * Number.POSITIVE_INFINITY;
      if (magnitude > 0x7c00) value = Number.NaN;
      if (!Object.is(f16Values[bits], value)) expect(f16Values[bits], `0x${bits}`).toBe(value);
    }
  });

  it('encodes every value back to its own bits, and every NaN to 0x7fff', () => {
    for (let bits = 0; bits < 65536; bits++) {
      const back = f16FromF64(f16Values[bits]);
      const own = (bits & 0x7fff) > 0x7c00 ? 0x7fff : bits;
      if (back !== own) expect(back, `of 0x${bits.toString(16)}`).toBe(own);
    }
  });

  it('rounds at every midpoint to even, and beside it to the nearer neighbour', () => {
    // 0x7bff is the largest finite value; its upper midpoint is 65520, where overflow starts.
    for (let bits = 0; bits < 0x7c00; bits++) {
      const upper = bits === 0x7bff ? 2 ** 40 : quanta(bits + 1);
      const middle = ((quanta(bits) + upper) / 2) * 2 ** -24;
      const ulp = middle * 2 ** -52;
      const even = bits + (bits & 1);
      for (const sign of [1, -1]) {
        const mask = sign < 0 ? 0x8000 : 0;
        const found = [middle - ulp, middle, middle + ulp].map((x) => f16FromF64(sign * x) - mask);
        if (found.join() !== [bits, even, bits + 1].join()) {
          expect(found, `around 0x${bits.toString(16)}`).toEqual([bits, even, bits + 1]);
        }
      }
    }
  });

  it('keeps the sign of zero and overflows to infinity from 65520', () => {
    expect(f16FromF64(-0)).toBe(0x8000);
    expect(f16FromF64(-(2 ** -26))).toBe(0x8000);
    expect(f16FromF64(Number.MIN_VALUE)).toBe(0);
    expect(f16FromF64(65519.99)).toBe(0x7bff);
    expect(f16FromF64(-65520)).toBe(0xfc00);
    expect([65536, -65536, 2 ** 17].map(f16FromF64)).toEqual([0x7c00, 0xfc00, 0x7c00]);
    expect(f16FromF64(Number.NaN)).toBe(0x7fff);
  });

  it('rounds once: a value that binary32 would move onto a midpoint goes the right way', () => {
    const x = 1 + 2 ** -11 + 2 ** -40; // binary32 drops the last bit, then ties to even
    expect(f16FromF64(x)).toBe(0x3c01);
    expect(f16FromF64(Math.fround(x))).toBe(0x3c00);
  });
});

describe('f16Round', () => {
  it('is the value of the encoded number: at every value, every midpoint and beside both', () => {
    const agree = (x: number) => {
      const expected = f16Values[f16FromF64(x)];
      if (!Object.is(f16Round(x), expected)) expect(f16Round(x), `${x}`).toBe(expected);
    };
    for (let bits = 0; bits <= 0x7c00; bits++) {
      const next = bits === 0x7bff ? 65536 : f16Values[bits + 1];
      for (const x of [f16Values[bits], (f16Values[bits] + next) / 2]) {
        for (const near of [x, x * (1 + 2 ** -40), x * (1 - 2 ** -40)]) {
          agree(near);
          agree(-near);
        }
      }
    }
    for (const x of [Number.NaN, Number.MIN_VALUE, 1e-300, 65519.99, 65520, 1e300]) {
      agree(x);
      agree(-x);
    }
  });
});

describe('significand11', () => {
  it('agrees with binary16 wherever binary16 is normal, at any scale', () => {
    const draw = draws(11);
    for (let i = 0; i < 20000; i++) {
      const x = (draw.unit() - 0.5) * powerOfTwo(draw.below(28) - 12);
      if (Math.abs(x) < 2 ** -14) continue;
      const scale = powerOfTwo(draw.below(100) - 60);
      expect(significand11(x * scale)).toBe(f16Values[f16FromF64(x)] * scale);
    }
  });

  it('breaks ties to even and keeps zero, Inf and NaN', () => {
    expect(significand11(1 + 2 ** -11)).toBe(1);
    expect(significand11(-(1 + 3 * 2 ** -11))).toBe(-(1 + 2 ** -9));
    expect(significand11(0)).toBe(0);
    expect(significand11(Number.NEGATIVE_INFINITY)).toBe(Number.NEGATIVE_INFINITY);
    expect(significand11(Number.NaN)).toBeNaN();
  });
});

describe('arrays of words', () => {
  const x = Float64Array.of(1, -2.5, 2 ** -24, 70000);

  it('hold the words of their type, and come back as its values', () => {
    const words = { fp16: [...x].map(f16FromF64), bf16: [...x].map(bf16FromF64) };
    for (const type of ['fp16', 'bf16'] as const) {
      const found = elementWords(type, x);
      expect([...found]).toEqual(words[type]);
      const values = [...x].map((value) => elementRound(type, value));
      expect([...f64Array(found, undefined, type)]).toEqual(values);
    }
    expect(words.fp16).not.toEqual(words.bf16);
    expect([...f64Array(elementWords('fp16', x))]).toEqual([
      1,
      -2.5,
      2 ** -24,
      Number.POSITIVE_INFINITY,
    ]);
  });

  it('are filled where they are given', () => {
    const words = new Uint16Array(4);
    expect(elementWords('bf16', x, words)).toBe(words);
    expect([...words]).toEqual([...x].map(bf16FromF64));
    const values = new Float64Array(4);
    expect(f64Array(words, values, 'bf16')).toBe(values);
    expect([...values]).toEqual([...x].map((value) => elementRound('bf16', value)));
  });
});

describe('exponents', () => {
  it('exponentOf and powerOfTwo are inverse on the normal range', () => {
    for (let e = -1022; e <= 1023; e++) {
      expect(exponentOf(powerOfTwo(e))).toBe(e);
      expect(exponentOf(-1.999 * powerOfTwo(e))).toBe(e);
    }
    expect(exponentOf(0)).toBe(-1023);
    expect(exponentOf(Number.NaN)).toBe(1024);
  });
});

describe('bfloat16', () => {
  it('encodes every value as itself', () => {
    for (let bits = 0; bits < 65536; bits++) {
      const value = bf16Values[bits];
      const expected = Number.isNaN(value) ? 0x7fff : bits;
      if (bf16FromF64(value) !== expected) expect(bf16FromF64(value), `${bits}`).toBe(expected);
    }
  });

  it('rounds once, to nearest, ties to even', () => {
    expect(bf16FromF64(1 + 2 ** -8)).toBe(0x3f80); // a tie: to even
    expect(bf16FromF64(1 + 3 * 2 ** -8)).toBe(0x3f82);
    expect(bf16FromF64(1 + 2 ** -8 + 2 ** -40)).toBe(0x3f81);
    expect(bf16FromF64(1 + 1.5 * 2 ** -8)).toBe(0x3f81);
    expect(bf16FromF64(-(1 + 3 * 2 ** -8))).toBe(0xbf82);
    expect(bf16FromF64(2 ** -134)).toBe(0);
    expect(bf16FromF64(1.5 * 2 ** -134)).toBe(1);
    expect(bf16FromF64(-0)).toBe(0x8000);
  });

  it('overflows from halfway beyond its largest value', () => {
    const edge = (2 - 2 ** -8) * 2 ** 127;
    expect(bf16FromF64(edge)).toBe(0x7f80);
    expect(bf16FromF64(-edge)).toBe(0xff80);
    expect([2 ** 128, -(2 ** 128), 2 ** 200].map(bf16FromF64)).toEqual([0x7f80, 0xff80, 0x7f80]);
    expect(bf16FromF64(edge * (1 - 2 ** -50))).toBe(0x7f7f);
    expect(bf16FromF64(Number.NaN)).toBe(0x7fff);
    expect(elementRound('bf16', 3.001)).toBe(3);
    expect(elementRound('fp16', 3.001)).toBe(f16Values[f16FromF64(3.001)]);
  });
});
