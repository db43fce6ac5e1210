// Tests of key-groups.ts: groups of a few channels whose terms are worked out by hand. Every chain
// here is one fused sum: it truncates terms, and rounds once by an ulp of its sum.
import { describe, expect, it } from 'vitest';
import type { Arithmetic } from './arithmetic.js';
import { channelGroupTerms, dequantizedGroup, fieldWeightMax, foldedGroup } from './key-groups.js';
import { plainChainError, queryOf } from './score-bound.js';

const a: Arithmetic = { operands: 'folded', fraction: 25, fusedProducts: 16, sumLanes: 8 };
const floats = (...x: number[]) => Float64Array.from(x);

function query(type: 'fp16' | 'bf16', ...q: number[]) {
  return queryOf(floats(...q), type, floats(...q.map(Math.abs)));
}

it('fields of 8, 4 and 2 bits count 1, 2^4 and 2^6 at most', () => {
  expect([8, 4, 2].map(fieldWeightMax)).toEqual([0, 4, 6]);
});

describe('K per channel, folded', () => {
  // The largest q has exponent 1 and the largest scale 0: q' counts 2^-13, and with a weight of 2^4
  // what is below 2^-23 is subnormal. 2^-23 itself is not.
  const own = query('fp16', 1.5, -2, 0, 2 ** -24, 2 ** -23, 2 ** -5);
  const scales = floats(1 + 2 ** -10, 0.5, 1, 1, 1, 1);
  const zeros = floats(1, -0.25, 3, 0, 0, 0);
  const slack = 2 ** -11 * 2 ** -24 + 2 ** -13 * 2 ** -25 * (1 + 2 ** 4);
  const first = 1538 / 1024; // 1.5 (1 + 2^-10) is a tie: to even

  it('adds the codes, truncated, the zeros and what is subnormal', () => {
    const shift = floats(9, 9, 9, 9, 9, 9);
    const terms = foldedGroup(a, own, scales, 0, zeros, 4, shift);
    expect([...shift]).toEqual([2 ** -11, 0, 0, 0, 0, 0]);
    const positive = first + 2 ** -24 + 2 ** -23 + 2 ** -5;
    const sum = 15 * (positive + slack);
    // Codes align as 1024 first, 2^10: bits below 2^(10 - 25) are lost of q' below 2^-5 only.
    const codes = 2 * 2 ** (10 - 25) + 2 ** (4 - 23);
    // Zeros: 1.5 + 0.5, six terms truncated at 2^(1 - 25).
    const ofZeros = 6 * 2 ** (1 - 25) + 2 ** (1 - 23);
    expect(terms.magnitude).toBe(sum + 2);
    expect(terms.error).toBe(15 * slack + codes + ofZeros);
  });

  it('takes the sign of which there is more, and aligns tiny zeros as normal numbers', () => {
    const shift = new Float64Array(2);
    const terms = foldedGroup(
      a,
      query('fp16', -2, 1),
      floats(1, 1),
      0,
      floats(2 ** -20, 0),
      8,
      shift,
    );
    expect(terms.magnitude).toBe(255 * 2 + 2 ** -19);
    // Code sums reach 510 and with their drift 2^9; codes align as 2^11; nothing is truncated.
    // Zeros align as 2 * 2^-14, not as 2^-19.
    expect(terms.error).toBe(2 ** (8 - 23) + 2 * 2 ** (-13 - 25) + 2 ** (-19 - 23));
  });

  it("truncates q' as it is after its rounding, and whatever may be subnormal", () => {
    // 2^-5 (1 - 2^-13) rounds to 2^-5, which loses nothing; 2^-4 times 2^-2 does.
    const near = floats(1, 2 ** -5 * (1 - 2 ** -13), 2 ** -2);
    const shift = new Float64Array(3);
    const q = query('fp16', 1.5, 1, 2 ** -4);
    const terms = foldedGroup(a, q, near, 0, floats(0, 0, 0), 8, shift);
    expect(shift[1]).toBe(2 ** -18);
    // Products of 8 bits reach 390; codes align as 2^10; zeros are nothing.
    const nothing = plainChainError(a, 3, 0);
    expect(terms.error - nothing).toBeCloseTo(2 ** (10 - 25) + 2 ** (8 - 23), 20);
    // The largest q and the largest scale are in different channels: 1.5 2^-24 would be kept by the
    // alignment, but lies below the normal 2^-23.
    const apart = query('fp16', 2, 2 ** -20, 1.5 * 2 ** -24, 2 ** -23);
    const scales = floats(2 ** -20, 1, 1, 1);
    const own = foldedGroup(a, apart, scales, 0, new Float64Array(4), 4, new Float64Array(4));
    const slack = 2 ** -11 * 1.5 * 2 ** -24 + 2 ** -13 * 2 ** -25 * 17;
    const sum = 15 * (2 ** -19 + 2 ** -20 + 1.5 * 2 ** -24 + 2 ** -23 + slack);
    expect(own.magnitude).toBe(sum);
    const cut = 2 ** (-9 - 25) + 2 ** (-15 - 23);
    expect(own.error - 15 * slack - plainChainError(a, 4, 0)).toBeCloseTo(cut, 20);
  });

  it('aligns zeros only where both factors are there', () => {
    const q = query('fp16', 100, 2 ** -10);
    const terms = foldedGroup(a, q, floats(0, 0), -24, floats(0, 2 ** -10), 4, new Float64Array(2));
    expect(terms.magnitude).toBe(2 ** -20);
    const codes = plainChainError(a, 2, 0);
    expect(terms.error - codes).toBeCloseTo(2 * 2 ** (-20 - 25) + 2 ** (-20 - 23), 20);
  });

  it('of bf16 may lose elements 2^-24 below the largest', () => {
    const shift = new Float64Array(3);
    const lost = query('bf16', 1, 2 ** -24, 2 ** -25);
    const terms = foldedGroup(a, lost, floats(1, 1, 0.5), 0, floats(0, 4, -4), 2, shift);
    const plain = foldedGroup(
      a,
      { ...lost, lostBelow: 0 },
      floats(1, 1, 0.5),
      0,
      floats(0, 4, -4),
      2,
      shift,
    );
    const own = 2 ** -25 * (4 + 3 * 0.5);
    expect(terms.error - plain.error).toBeCloseTo(own, 15);
    expect(terms.magnitude - plain.magnitude).toBeCloseTo(own, 15);
  });
});

describe('K dequantised', () => {
  it('takes the end of each range that is farther from 0, rounded up twice', () => {
    const own = query('fp16', 0, 1, -2, 1);
    const terms = dequantizedGroup(a, own, floats(9, 1, 0.5, 0), floats(9, -20, 1, 0), 4);
    const subnormal = 2 * 2 ** -11 * 2 ** -14;
    const keys = [
      20 + 2 ** -11 * (20 + 15) * (1 + 2 ** -11) + subnormal,
      8.5 + 2 ** -11 * (8.5 + 7.5) * (1 + 2 ** -11) + subnormal,
    ];
    const sum = keys[0] + 2 * keys[1] + 2 ** -14; // no key aligns below a normal number
    expect(terms.magnitude).toBe(sum);
    expect(terms.error).toBe(4 * 2 ** (5 - 25) + 2 ** (5 - 23));
  });

  it('rounds to the type of the problem', () => {
    const terms = dequantizedGroup(a, query('bf16', 1), floats(1), floats(1), 2);
    expect(terms.magnitude).toBe(4 + 2 ** -8 * (4 + 3) * (1 + 2 ** -8) + 2 ** -133);
  });
});

describe('K per token, folded', () => {
  // Largest 2: q^ counts 2^-13, subnormal below 2^-23 with a weight of 2^4.
  const own = query('fp16', 100, 1.5, -2, 2 ** -24, 0, 2 ** -23, 2 ** -4, 100);
  const q = { ...own, exponent: 1, smallest: 2 ** -27 };
  const slack = 2 ** -13 * 2 ** -25 * 2 ** 4;

  it('adds what one group of channels may err by, apart for scale and zero', () => {
    const terms = channelGroupTerms(a, q, 1, 7, 4);
    const sum = 15 * (2 + slack);
    expect(terms.codeSum).toBe(sum);
    expect(terms.zeroSum).toBe(2);
    expect(terms.lost).toBe(0);
    // Codes align as 1024 * 2: bits below 2^(11 - 25) are lost of q^ below 2^-4.
    expect(terms.codeError).toBe(15 * slack + 2 * 2 ** (11 - 25) + 2 ** (4 - 23));
    // One after another in f32 is worse than the tensor core here.
    expect(terms.zeroError).toBe(6 * 2 ** -24 * (1 + 2 ** -8) * 2);
  });

  it('takes the positive sum where it is more; 8 bits of normal numbers have no slack', () => {
    const terms = channelGroupTerms(a, query('fp16', 1, 0.5, -0.25), 0, 3, 8);
    expect([terms.codeSum, terms.zeroSum]).toEqual([255 * 1.5, 1.5]);
    expect(terms.codeError).toBe(2 ** (8 - 23));
  });

  it('truncates what may be subnormal although the group is small enough to keep it', () => {
    const low = { ...query('fp16', 2 ** -21, 2 ** -24, 2 ** -23), exponent: 1, smallest: 2 ** -27 };
    const terms = channelGroupTerms(a, low, 0, 3, 4);
    const sum = 15 * (2 ** -21 + 2 ** -24 + 2 ** -23 + slack);
    expect(terms.codeSum).toBe(sum);
    expect(terms.codeError).toBe(15 * slack + 2 ** (-11 - 25) + 2 ** (-17 - 23));
  });

  it('aligns a group of tiny elements as the smallest that the row holds', () => {
    const tiny = { ...query('fp16', 2 ** -24), exponent: 15, smallest: 2 ** -14 };
    const terms = channelGroupTerms(a, tiny, 0, 1, 8);
    const below = 2 ** (15 - 14) * 2 ** -25;
    expect(terms.codeError).toBe(255 * below + 2 ** (-4 - 25) + 2 ** (-16 - 23));
  });

  it('of bf16 may lose elements 2^-24 below the largest', () => {
    const lost = query('bf16', 1, 2 ** -24, 2 ** -25, -(2 ** -26));
    expect(channelGroupTerms(a, lost, 0, 4, 4).lost).toBe(2 ** -25 + 2 ** -26);
  });
});
