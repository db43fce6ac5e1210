// Tests of row-weights.ts where scores may be far off: what a weight may grow by is e^E - 1, of the
// token itself or of it and the heaviest together.
import { describe, expect, it } from 'vitest';
import { type KnownArithmetic, rowConstants, u } from './arithmetic.js';
import { weighRow } from './row-weights.js';

const arithmetic: KnownArithmetic = {
  ...{ operands: 'folded', fraction: 25, fusedProducts: 16, sumLanes: 8 },
};

/** Two tokens, the second 2^-x of the first, whose scores are off by `errors` in the exponent. */
function weigh(x: number, errors: readonly [number, number]) {
  const scores = () => Float64Array.of(3, 3 - x);
  const [shadows, drift] = [scores(), Float64Array.from(errors)];
  const row = weighRow(arithmetic, rowConstants(arithmetic, 2), scores(), shadows, drift);
  return { ...row, weights: shadows, drifts: drift };
}

describe('two tokens', () => {
  it('have the weights of their scores', () => {
    const { weights, weightMax, logSum, shadowLogSum } = weigh(2, [0, 0]);
    expect([...weights]).toEqual([0.8, 0.2]);
    expect(weightMax).toBe(0.8);
    expect(logSum).toBeCloseTo(3 + Math.log2(1.25), 14);
    expect(shadowLogSum).toBe(logSum);
  });

  // Errors below 2^-1 and up to 2^6: e^E - 1 <= E + E^2 is used up to 1, e^E - 1 itself beyond.
  it.each([0.01, 0.3, 0.6, 1.4, 3, 20, 60])('drift by e^E - 1 of the error %f', (error) => {
    const { weights, drifts, driftMax, drift, anchor, tail } = weigh(2, [2 ** -10, error]);
    expect(drifts[0]).toBe(0); // the first has more than half of the weight
    const own = Math.LN2 * (error + 8 * u);
    const theta = drifts[1] / weights[1];
    const least = Math.expm1(own + anchor);
    expect(theta).toBeGreaterThan(least);
    expect(theta).toBeLessThan(own + anchor <= 1 ? 1.4 * least : (1 + 1e-3) * least);
    expect(driftMax).toBeCloseTo(theta, 14 - Math.ceil(Math.log10(theta + 1)));
    expect(drift).toBe(drifts[1]);
    expect(tail).toBe(0);
  });

  it('of which one weighs below 2^-100 of the other count apart', () => {
    const { drifts, driftMax, tail, drift } = weigh(101, [0, 80]);
    expect(tail).toBe(drifts[1]);
    expect(drift).toBe(tail);
    expect(driftMax).toBe(0);
  });
});
