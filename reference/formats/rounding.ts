/**
 * Steps that quantisers share: extremes of a group as CUDA's min and max give them, and conversions
 * of a float to an integer as the hardware does them.
 */
import { roundHalfEven } from '../number-type.js';

export interface Extremes {
  readonly min: number;
  readonly max: number;
}

/**
 * Minimum and maximum with the rules of PTX min and max, fminf and fmaxf on a GPU: a NaN loses
 * against a number, and -0 lies below +0. `start`: what the accumulators hold first; without it,
 * the first element, so that a group of NaN gives NaN.
 */
export function extremes(x: Float64Array, start?: Extremes): Extremes {
  let min = start ? start.min : Number.NaN;
  let max = start ? start.max : Number.NaN;
  for (const value of x) {
    if (Number.isNaN(value)) continue;
    // Math.min and Math.max order the zeros and, unlike the GPU, let a NaN win.
    min = Number.isNaN(min) ? value : Math.min(min, value);
    max = Number.isNaN(max) ? value : Math.max(max, value);
  }
  return { min, max };
}

/** Largest magnitude, at least 0; a NaN loses (fmaxf(amax, fabsf(x)) from 0 on). */
export function absoluteMax(x: Float64Array): number {
  let max = 0;
  for (const value of x) if (Math.abs(value) > max) max = Math.abs(value);
  return max;
}

/** cvt.rni.sat.u8: to the nearest integer, ties to even, cut to 0 .. 255; NaN gives 0. */
export function toUnsigned8(x: number): number {
  return Number.isNaN(x) ? 0 : Math.min(Math.max(roundHalfEven(x), 0), 255);
}
