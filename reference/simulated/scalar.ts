/**
 * Scalar arithmetic of the simulated kernels: binary32 by Math.fround, and a faulty exponential.
 *
 * These kernels exist to attack the bounds, so every rounding that hardware leaves open is a
 * choice: ex2 errs by up to its whole stated error, at random, always one way, or against the sign
 * of a hash. fma rounds twice (float64, then binary32); that differs from one rounding in rare ties
 * only and stays within u (1 + 2^-28), which the bounds' slack pays.
 */
import { exp2 } from '../exp.js';
import type { Draw } from './draw.js';

export const { fround } = Math;

export function fma(x: number, y: number, z: number): number {
  return fround(x * y + z);
}

export type Ex2 = (x: number) => number;

/** ex2.approx.ftz's error of 2^-22.7, less the rounding of the result to binary32. */
const ex2Reach = 2 ** -22.7 - 2 ** -24;

/** direction: a fixed sign of the error, or 0 for a random one within reach. */
export function faultyEx2(draw: Draw, direction: -1 | 0 | 1): Ex2 {
  return (x) => {
    if (x === 0) return 1;
    if (x < -126) return 0;
    const error = direction === 0 ? 2 * draw.unit() - 1 : direction;
    return fround(exp2(x) * (1 + error * ex2Reach));
  };
}
