/**
 * How much of its bound a simulated row uses: 1 is the bound itself, above 1 it is broken.
 *
 * An error of 0 uses 0 of any bound, also of a bound of 0. Whatever is no number, the value or the
 * bound, uses Infinity, so that a test for at most 1 cannot pass by accident. It says nothing about
 * whether the bound is sharp; tests that want that ask for a least use.
 */
import type { BoundResult } from '../bound.js';
import type { SimulatedRow } from './folded-kernel.js';

export interface Use {
  /** largest over the channels, of the radius before the fp16 store */
  readonly output: number;
  readonly lse: number;
}

export function useOf(found: number, exact: number, bound: number): number {
  if (found === exact) return 0;
  const use = Math.abs(found - exact) / bound;
  return Number.isNaN(use) ? Number.POSITIVE_INFINITY : use;
}

/** row: of `result`; channels: those of `simulated`, in its order. */
export function boundUse(
  result: BoundResult,
  row: number,
  simulated: SimulatedRow,
  channels: readonly number[],
): Use {
  const size = result.output.length / result.lse.length;
  const uses = channels.map((d, i) => {
    const at = row * size + d;
    return useOf(simulated.output[i], result.output[at], result.outputRadius[at]);
  });
  return {
    output: Math.max(...uses),
    lse: useOf(simulated.lse, result.lse[row], result.lseBound[row]),
  };
}
