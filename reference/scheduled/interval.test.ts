// Tests of interval.ts: steps of one ulp, what ex2 may be, and which end of a factor counts.
import { describe, expect, it } from 'vitest';
import { ex2Error } from '../arithmetic.js';
import { ex2Approx } from '../ex2-approx.js';
import { exp2 } from '../exp.js';
import { draws } from '../simulated/draw.js';
import {
  ex2,
  ex2High,
  ex2Low,
  exactExponential,
  f32Above,
  f32Below,
  fmaHigh,
  fmaLow,
  openExponential,
  scaledHigh,
  scaledLow,
} from './interval.js';

const { fround } = Math;
const ulp = 2 ** -23;

/** The n-th binary32 after a positive one. */
function stepped(x: number, n: number): number {
  const words = new Uint32Array(Float32Array.of(x).buffer);
  words[0] += n;
  return new Float32Array(words.buffer)[0];
}

describe('the binary32 beside a number', () => {
  it('is the number itself if it is one', () => {
    for (const x of [0, 1, 1 + ulp, 2 ** -126, 0.75]) {
      expect([f32Below(x), f32Above(x)]).toEqual([x, x]);
    }
  });

  it('is one ulp away on either side of the nearest', () => {
    for (const part of [0.25, 0.75]) {
      expect(f32Below(1 + part * ulp)).toBe(1);
      expect(f32Above(1 + part * ulp)).toBe(1 + ulp);
      expect(f32Below(2 - part * ulp)).toBe(2 - ulp);
      expect(f32Above(2 - part * ulp)).toBe(2);
    }
  });
});

describe('an open exponential', () => {
  it('is all binary32 within ex2Error, and no other', () => {
    for (let seed = 0; seed < 300; seed++) {
      const x = fround(-draws(seed).unit() * 2 ** (7 - (seed % 20)));
      if (x < -126) continue;
      const exact = exp2(x);
      const { low, high } = ex2(openExponential, x);
      expect([low, high]).toEqual([ex2Low(x), ex2High(x)]);
      // exp2 itself is off by 2^-50; the ends are the last numbers inside.
      expect(low / exact - 1).toBeGreaterThanOrEqual(-ex2Error - 2 ** -48);
      expect(high / exact - 1).toBeLessThanOrEqual(ex2Error + 2 ** -48);
      expect(stepped(low, -1) / exact - 1).toBeLessThan(-ex2Error + 2 ** -48);
      expect(stepped(high, 1) / exact - 1).toBeGreaterThan(ex2Error - 2 ** -48);
      expect(fround(low)).toBe(low);
      expect(fround(high)).toBe(high);
    }
  });

  it('is exactly 1 at 0, and 0 below -126', () => {
    expect([ex2Low(0), ex2High(0)]).toEqual([1, 1]);
    const below = -126 * (1 + ulp);
    expect([ex2Low(below), ex2High(below)]).toEqual([0, 0]);
    expect(ex2Low(-126)).toBeGreaterThan(2 ** -126 * (1 - 2 ** -21));
    expect(ex2High(-126)).toBeGreaterThan(2 ** -126);
    expect(openExponential.isKnown).toBe(false);
  });
});

it('a known exponential is that of sm_90 at both ends', () => {
  const own = ex2Approx(-3.3);
  expect(ex2(exactExponential, -3.3)).toEqual({ low: own, high: own });
  expect(exactExponential.isKnown).toBe(true);
});

describe('a factor in an interval', () => {
  const factor = { low: 0.25, high: 0.5 };

  it('counts by its lower end where that makes less', () => {
    expect([scaledLow(factor, 3), scaledLow(factor, -3)]).toEqual([0.75, -1.5]);
    expect([scaledHigh(factor, 3), scaledHigh(factor, -3)]).toEqual([1.5, -0.75]);
    expect([fmaLow(factor, 3, 1), fmaLow(factor, -3, 1)]).toEqual([1.75, -0.5]);
    expect([fmaHigh(factor, 3, 1), fmaHigh(factor, -3, 1)]).toEqual([2.5, 0.25]);
  });

  it('is rounded once', () => {
    const y = 1 + ulp;
    const third = { low: fround(1 / 3), high: fround(1 / 3) };
    expect(scaledLow(third, y)).toBe(fround(third.low * y));
    expect(scaledHigh(third, y)).toBe(fround(third.low * y));
    // y^2 = 1 + 2^-22 + 2^-46: rounded before the sum, the last term were lost.
    expect(fmaLow({ low: y, high: y }, y, -1 - 2 * ulp)).toBe(2 ** -46);
    expect(fmaHigh({ low: y, high: y }, y, -1 - 2 * ulp)).toBe(2 ** -46);
  });
});
