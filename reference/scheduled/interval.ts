/**
 * Intervals of binary32 numbers through roundings: a rounding is monotone, so the ends of the
 * operands, rounded as the kernel rounds, are the ends of the result.
 *
 * Only ex2 may leave a choice: any binary32 within ex2Error of 2^x, exactly 1 at 0, 0 below -126.
 * Where the unit that answers is known bit for bit (ex2-approx.ts) it leaves none. All other steps
 * are known, so an interval is one number wherever no exponential with a choice entered it.
 */
import { ex2Error } from '../arithmetic.js';
import { ex2Approx } from '../ex2-approx.js';
import { exp2, exp2Error } from '../exp.js';
import { fmaF32 } from '../number-type.js';

const { fround } = Math;

export interface Interval {
  readonly low: number;
  readonly high: number;
}

const f32 = new Float32Array(1);
const bits = new Uint32Array(f32.buffer);

/** The largest binary32 that is at most x, for x >= 0 in range. */
export function f32Below(x: number): number {
  const rounded = fround(x);
  if (rounded <= x) return rounded;
  f32[0] = rounded;
  bits[0] -= 1;
  return f32[0];
}

/** The smallest binary32 that is at least x, for x >= 0 in range. */
export function f32Above(x: number): number {
  const rounded = fround(x);
  if (rounded >= x) return rounded;
  f32[0] = rounded;
  bits[0] += 1;
  return f32[0];
}

/** 2^x is known to exp2Error, which the reach of ex2 has to give up nothing for. */
const reach = ex2Error + 2 * exp2Error;

/** Smallest ex2(x), for a binary32 x <= 0. */
export function ex2Low(x: number): number {
  if (x === 0) return 1;
  return x < -126 ? 0 : f32Above(exp2(x) * (1 - reach));
}

/** Largest ex2(x). */
export function ex2High(x: number): number {
  if (x === 0) return 1;
  return x < -126 ? 0 : f32Below(exp2(x) * (1 + reach));
}

/** What ex2 of a binary32 x <= 0 may be. */
export interface Exponential {
  readonly low: (x: number) => number;
  readonly high: (x: number) => number;
  /** low and high are the same */
  readonly isKnown: boolean;
}

/** Anything within ex2Error. */
export const openExponential: Exponential = { low: ex2Low, high: ex2High, isKnown: false };

/** The unit of sm_90, bit for bit. */
export const exactExponential: Exponential = { low: ex2Approx, high: ex2Approx, isKnown: true };

export function ex2(exponential: Exponential, x: number): Interval {
  return { low: exponential.low(x), high: exponential.high(x) };
}

/** Lower end of RN(f y), f in [low, high] >= 0, y at its own lower end. */
export function scaledLow({ low, high }: Interval, y: number): number {
  return fround((y >= 0 ? low : high) * y);
}

/** Upper end, y at its own upper end. */
export function scaledHigh({ low, high }: Interval, y: number): number {
  return fround((y >= 0 ? high : low) * y);
}

/** Lower end of fma(f, y, z), y and z at their lower ends. */
export function fmaLow({ low, high }: Interval, y: number, z: number): number {
  return fmaF32(y >= 0 ? low : high, y, z);
}

/** Upper end, y and z at their upper ends. */
export function fmaHigh({ low, high }: Interval, y: number, z: number): number {
  return fmaF32(y >= 0 ? high : low, y, z);
}
