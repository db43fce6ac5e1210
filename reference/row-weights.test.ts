// Tests of row-weights.ts where scores may be far off: what a weight may grow by is e^E - 1, of the
// token itself or of it and the heaviest together.
import { describe, expect, it } from 'vitest';
import { ex2Error, type KnownArithmetic, rowConstants, u } from './arithmetic.js';
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

  it('of which one weighs 2^-100 of the other do not', () => {
    const { drifts, weights, driftMax, tail } = weigh(100, [0, 80]);
    expect(weights[1]).toBe(2 ** -100);
    expect(tail).toBe(0);
    expect(driftMax).toBe(drifts[1] * 2 ** 100);
  });

  it('of the same weight are seen from the first, which has half of it', () => {
    const { drifts, anchor } = weigh(0, [0.25, 0.125]);
    expect(anchor).toBeGreaterThan(Math.LN2 * 0.25);
    expect(drifts[0]).toBe(0);
    expect(drifts[1]).toBeGreaterThan(0.5 * Math.expm1(Math.LN2 * 0.375));
  });
});

describe('the second of two tokens', () => {
  /** Part of E of every token: an exponential, and one for each rescale. */
  const common = (1 + rowConstants(arithmetic, 2).rescales) * ex2Error;

  it('drifts by E + E^2 up to 1 itself', () => {
    // E is rounded: one of a few errors next to each other makes it 1.
    const least = (1 - 2 * common) / ((1 + 2 ** -20) * Math.LN2);
    const thetas = Array.from({ length: 17 }, (_, i) => {
      const { drifts, weights } = weigh(0, [0, least + (i - 8) * 2 ** -52]);
      return drifts[1] / weights[1];
    });
    expect(thetas).toContain(2);
    expect(thetas[16]).toBeCloseTo(Math.E - 1, 11);
  });

  it('drifts by no less than e^E - 1, and no more of it than 2^-39', () => {
    for (const error of [2, 5, 11, 23]) {
      const { drifts, weights, anchor } = weigh(2, [0, error]);
      expect(anchor).toBe(common);
      // Errors of a kernel's score are multiplied: their second order is 2^-20 of the first.
      const own = (1 + 2 ** -20) * Math.LN2 * (error + 8 * u);
      const least = Math.expm1(own + 2 * common);
      const theta = drifts[1] / weights[1];
      expect(theta).toBeGreaterThan(least);
      expect(theta / least - 1).toBeLessThan(2 ** -39);
    }
  });
});

describe('a score may be off', () => {
  /** Scores of which the shadow has lost `known`, and errors besides. */
  function errorMax(known: readonly number[], errors: readonly number[]): number {
    const shadows = Float64Array.from(known, () => 3);
    const scores = shadows.map((x, j) => x + known[j]);
    const constants = rowConstants(arithmetic, known.length);
    return weighRow(arithmetic, constants, scores, shadows, Float64Array.from(errors)).errorMax;
  }

  it('by the largest difference that is known, wherever it is, and the largest error', () => {
    const wanted = Math.LN2 * (4 + 0.5 * (1 + 2 ** -20));
    for (const known of [
      [4, 1, 2],
      [1, -4, 2],
      [1, 2, 4],
    ]) {
      expect(errorMax(known, [0.25, 0.5, 0])).toBeCloseTo(wanted, 14);
    }
    expect(errorMax([0, 0, 0], [0, 0, 0])).toBe(0);
  });

  it('by what is known of finite ones, if some are infinite', () => {
    const infinity = Number.POSITIVE_INFINITY;
    const [scores, shadows] = [0, 1].map((i) => Float64Array.of(3 + 2 * i, -infinity, -infinity));
    const constants = rowConstants(arithmetic, 3);
    const row = weighRow(arithmetic, constants, scores, shadows, new Float64Array(3));
    // An infinite score is 128 below the others, where a weight is flushed.
    expect(row.errorMax).toBeCloseTo(Math.LN2 * (2 + 4 * u * 128), 10);
  });
});
