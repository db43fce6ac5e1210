/**
 * Seeded draws for the tests of this folder. Not the generator of the campaigns (properties has its
 * own, frozen by tests); changing this one changes nothing but the samples of unit tests.
 *
 * mulberry32 (T. Ettinger, public domain): 32 bits of state, passes gjrand, one line.
 */
import { f16FromF64 } from '../format.js';

export interface Draw {
  /** a 32-bit integer */
  bits(): number;
  /** in [0, 1) */
  unit(): number;
  /** an integer in [0, n) */
  below(n: number): number;
  /** close to normal, mean 0 and deviation 1: a sum of 12 uniform draws less 6, so |x| < 6 */
  normal(): number;
}

export function draws(seed: number): Draw {
  let state = seed >>> 0;
  const bits = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  };
  const unit = () => bits() / 2 ** 32;
  const normal = () => {
    let sum = -6;
    for (let i = 0; i < 12; i++) sum += unit();
    return sum;
  };
  return { bits, unit, normal, below: (n) => Math.floor(unit() * n) };
}

/** `count` binary16 values (bits) of normal draws, (count). */
export function normalF16(draw: Draw, count: number, deviation = 1, mean = 0): Uint16Array {
  return Uint16Array.from({ length: count }, () => f16FromF64(mean + deviation * draw.normal()));
}
