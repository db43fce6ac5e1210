// Tests of arithmetic.ts: the constants of a row, counted by hand.
import { describe, expect, it } from 'vitest';
import {
  type Arithmetic,
  eta,
  ex2Error,
  log2Error,
  normalMin,
  roundingUnit,
  rowConstants,
  u,
} from './arithmetic.js';

const folded: Arithmetic = { operands: 'folded', fraction: 25, fusedProducts: 16, sumLanes: 8 };
const gamma = (roundings: number) => (roundings * u) / (1 - roundings * u);

describe('the constants of a row of 300 tokens', () => {
  it('count rescales after each record of a folding kernel, or each 16 tokens', () => {
    expect(rowConstants(folded, 300).rescales).toBe(3 + 3);
    expect(rowConstants({ ...folded, operands: 'dequantized' }, 300).rescales).toBe(19 + 3);
    expect(rowConstants({ ...folded, rescaleTokens: 64 }, 300).rescales).toBe(5 + 3);
  });

  it('count the additions of one lane, and of no more than 128 lanes', () => {
    expect(rowConstants(folded, 300).sumError).toBe(gamma(38 + 40 + 6));
    expect(rowConstants({ ...folded, sumLanes: 1000 }, 300).sumError).toBe(gamma(3 + 40 + 6));
    expect(rowConstants({ ...folded, sumLanes: 1 }, 300).sumError).toBe(gamma(300 + 40 + 6));
  });

  it('count the merges of as many splits as there are records', () => {
    expect(rowConstants(folded, 300).mergeError).toBe(gamma(3 + 40 + 6));
    expect(rowConstants(folded, 128).mergeError).toBe(gamma(1 + 40 + 4));
  });
});

describe('units', () => {
  it('are those of the types', () => {
    expect([roundingUnit('fp16'), roundingUnit('bf16')]).toEqual([2 ** -11, 2 ** -8]);
    expect([normalMin('fp16'), normalMin('bf16')]).toEqual([2 ** -14, 2 ** -126]);
    expect([u, eta]).toEqual([2 ** -24, 2 ** -11 * 2 ** -14]);
  });

  it('of exponentials and logarithms are 2^-22.7 rounded up, two ulp of 1 or of the result', () => {
    expect(ex2Error).toBeGreaterThan(1.467e-7);
    expect(ex2Error).toBeLessThan(1.5e-7);
    expect([0, 0.5, 1, 8, -8].map(log2Error)).toEqual([1, 1, 1, 8, 8].map((x) => x * 2 ** -22));
  });
});
