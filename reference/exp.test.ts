// Tests of exp.ts against 2^x in 200-bit fixed point.
import { describe, expect, it } from 'vitest';
import { exp2, exp2Error, log2, tanh } from './exp.js';
import { draws } from './simulated/draw.js';

const one = 1n << 200n;

/** ln 2 * 2^200 from sum 1 / (k 2^k). */
const ln2Fixed = ((): bigint => {
  let sum = 0n;
  for (let k = 1n; k < 220n; k++) sum += (one >> k) / k;
  return sum;
})();

/** 2^f * 2^200 for f * 2^60 an integer, |f| <= 1/2: the exponential series of f ln 2. */
function powerFixed(f: number): bigint {
  const x = (BigInt(f * 2 ** 60) * ln2Fixed) >> 60n;
  let term = one;
  let sum = one;
  for (let k = 1n; k < 60n; k++) {
    term = (term * x) / one / k;
    sum += term;
  }
  return sum;
}

/** Relative error of y against 2^f, in float64; y is near 1. */
function relativeError(y: number, f: number): number {
  const exact = powerFixed(f);
  const found = BigInt(y * 2 ** 53) << 147n;
  return Number(((found - exact) << 60n) / exact) / 2 ** 60;
}

describe('exp2', () => {
  it('stays within its stated error over the reduced range', () => {
    const draw = draws(7);
    let worst = 0;
    for (let i = 0; i < 4000; i++) {
      // 2^-50 steps: 53 bits of significand and the fixed point both hold them exactly
      const f = Math.round((draw.unit() - 0.5) * 2 ** 50) / 2 ** 50;
      worst = Math.max(worst, Math.abs(relativeError(exp2(f), f)));
    }
    expect(worst).toBeLessThanOrEqual(exp2Error);
    expect(exp2Error).toBe(2 ** -26 * 2 ** -24); // as the header has it
    expect(worst).toBeGreaterThan(2 ** -54); // the test sees rounding
  });

  it('is exact at integers and scales exactly by them', () => {
    for (let n = -1074; n < 1024; n++) expect(exp2(n)).toBe(2 ** n);
    expect(exp2(0.3 + 4)).toBe(16 * exp2(0.3 + 4 - 4));
  });

  it('ends in zero, infinity and NaN', () => {
    expect(exp2(-1080)).toBe(0);
    expect(exp2(Number.NEGATIVE_INFINITY)).toBe(0);
    for (const x of [1024, 1025, 1e9, Number.POSITIVE_INFINITY]) {
      expect(exp2(x)).toBe(Number.POSITIVE_INFINITY);
    }
    expect(exp2(1023.99)).toBeGreaterThan(1.7e308);
    expect(exp2(Number.NaN)).toBeNaN();
  });
});

describe('log2', () => {
  it('inverts exp2', () => {
    const draw = draws(8);
    for (let i = 0; i < 4000; i++) {
      const y = (draw.unit() - 0.5) * 100;
      expect(Math.abs(log2(exp2(y)) - y)).toBeLessThanOrEqual(2 ** -48 + 2 ** -52 * Math.abs(y));
    }
  });

  it('ends as the logarithm does', () => {
    const inf = Number.POSITIVE_INFINITY;
    expect([0, inf, -1, Number.NaN].map(log2)).toEqual([-inf, inf, Number.NaN, Number.NaN]);
    expect([1, 2 ** -1022, 2 ** 1023].map(log2)).toEqual([0, -1022, 1023]);
  });

  it('does not trust the guess of the engine', () => {
    const engine = Math.log2;
    const exact = log2(3e5);
    Math.log2 = (x) => engine(x) + 1e-9;
    const corrected = log2(3e5);
    Math.log2 = engine;
    expect(Math.abs(corrected - exact)).toBeLessThanOrEqual(2 ** -48);
  });
});

describe('tanh', () => {
  it('is within 2^-48 of the engine, whose own error is far smaller than that', () => {
    for (let i = -4000; i <= 4000; i++) {
      const x = (i * 0.0101) ** 3;
      const expected = Math.tanh(x);
      const limit = (2 ** -48 + 2 ** -51) * Math.abs(expected);
      if (!(Math.abs(tanh(x) - expected) <= limit)) expect(tanh(x), `of ${x}`).toBe(expected);
    }
  });

  it('keeps what is exact: tiny arguments, signs, the limits, NaN', () => {
    expect([tanh(2 ** -40), tanh(-(2 ** -1000)), tanh(0)]).toEqual([2 ** -40, -(2 ** -1000), 0]);
    expect(Object.is(tanh(-0), -0)).toBe(true);
    const inf = Number.POSITIVE_INFINITY;
    expect([tanh(50), tanh(-1e300), tanh(inf), tanh(-inf)]).toEqual([1, -1, 1, -1]);
    expect(tanh(Number.NaN)).toBeNaN();
  });
});
