// Tests of score-bound.ts: chains of fused sums whose errors are counted by hand. A chain of 20
// products takes two sums of 16, whose second starts from an accumulator.
import { describe, expect, it } from 'vitest';
import type { Arithmetic } from './arithmetic.js';
import {
  chainError,
  chainExponent,
  plainChainError,
  power,
  queryOf,
  sumError,
} from './score-bound.js';

const a: Arithmetic = { operands: 'folded', fraction: 25, fusedProducts: 16, sumLanes: 8 };

describe('a chain', () => {
  it('truncates terms and accumulators at its exponent and rounds by an ulp of its sum', () => {
    expect(chainError(a, 20, 3, 5, 10)).toBe((3 + 1) * 2 ** (5 - 25) + 2 * 2 ** (3 - 23));
    expect(chainError(a, 16, 0, 5, 10)).toBe(2 ** (3 - 23));
    expect(chainError({ ...a, fraction: 24, fusedProducts: 8 }, 20, 3, 5, 10)).toBe(
      (3 + 2) * 2 ** (5 - 24) + 3 * 2 ** (3 - 23),
    );
  });

  it('has a sum that may have drifted up to the next exponent', () => {
    expect(chainError(a, 16, 0, 5, 1023)).toBe(2 ** (10 - 23));
    expect(chainError(a, 16, 0, 5, 1019)).toBe(2 ** (9 - 23));
    expect(chainExponent(1, 1023)).toBe(10);
    expect(chainExponent(1, 1019)).toBe(9);
    expect(chainExponent(8, 3)).toBe(3);
  });

  it('of which only the sum of magnitudes is known may lose bits of every term', () => {
    expect(plainChainError(a, 20, 1023)).toBe((20 + 1) * 2 ** (10 - 25) + 2 * 2 ** (10 - 23));
  });

  it('of nothing errs by nothing that counts', () => {
    expect([power(5), power(-900), power(-1000), power(-1023)]).toEqual([
      32,
      ...[1, 1, 1].map(() => 2 ** -900),
    ]);
    expect(plainChainError(a, 16, 0)).toBeLessThan(2 ** -890);
  });
});

describe('a sum', () => {
  it('errs as the tensor core does or as f32 does, whichever is more', () => {
    const chain = (20 + 1) * 2 ** (3 - 25) + 2 * 2 ** (1 - 23);
    expect(sumError(a, 20, 8, 3)).toBe(chain);
    expect(sumError(a, 1000, 2 ** -30, 3)).toBe(1000 * 2 ** -24 * (1 + 2 ** -8) * 3);
  });
});

describe('a query row', () => {
  const of = (type: 'fp16' | 'bf16', ...q: number[]) =>
    queryOf(Float64Array.from(q), type, Float64Array.from(q));

  it('of fp16 aligns 2^-28 below its largest element, but not above 2^-14', () => {
    const own = of('fp16', 0, -3, 2);
    expect([own.exponent, own.smallest, own.lostBelow]).toEqual([1, 2 ** -27, 0]);
    expect(of('fp16', 2 ** 15).smallest).toBe(2 ** -14);
    expect(of('fp16', 0, 0).exponent).toBe(-24);
  });

  it('of bf16 loses what is 2^-24 below its largest element', () => {
    const own = of('bf16', 1, 2 ** 10);
    expect([own.exponent, own.smallest, own.lostBelow]).toEqual([10, 2 ** -11, 2 ** -14]);
    expect(of('bf16', 0).exponent).toBe(-133);
  });

  it('keeps what it is made of', () => {
    const own = of('bf16', 1, 2);
    expect([[...own.q], [...own.magnitudes], own.type]).toEqual([[1, 2], [1, 2], 'bf16']);
  });
});
