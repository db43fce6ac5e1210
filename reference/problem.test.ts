// Tests of problem.ts and scheme.ts: what is refused, and in which words.
import { describe, expect, it } from 'vitest';
import { firstTokens, headRows, type Problem, problemError } from './problem.js';
import { type Scheme, schemeError } from './scheme.js';

const good: Problem = { tokens: [3, 0, 200], queryHeads: 6, kvHeads: 2, headSize: 128 };
const scheme: Scheme = { format: 'bitdecoding', kAxis: 'channel', bits: 4, group: 128 };

describe('problemError', () => {
  it('accepts requests without tokens and any integer ratio of heads', () => {
    expect(problemError(good)).toBeNull();
    expect(problemError({ ...good, queryHeads: 64, kvHeads: 1 })).toBeNull();
  });

  it.each([
    [{ tokens: [] }, 'problem.tokens: empty, at least one request is required'],
    [{ tokens: [1, -1] }, 'problem.tokens[1]: -1 is not an integer from 0 to 2147483647'],
    [{ tokens: [1.5] }, 'problem.tokens[0]: 1.5 is not an integer from 0 to 2147483647'],
    [{ tokens: [Number.NaN] }, 'problem.tokens[0]: NaN is not an integer from 0 to 2147483647'],
    [{ kvHeads: 0 }, 'problem.kvHeads: 0 is not an integer from 1 to 2147483647'],
    [{ kvHeads: 4 }, 'problem.queryHeads: 6 is not a multiple of problem.kvHeads 4'],
  ])('refuses %o', (change, message) => {
    expect(problemError({ ...good, ...change })).toBe(message);
  });
});

describe('schemeError', () => {
  it('accepts the six schemes of BitDecoding', () => {
    for (const bits of [4, 2] as const) {
      for (const group of [128, 64, 32] as const) {
        expect(schemeError({ ...scheme, bits, group }, good)).toBeNull();
      }
    }
  });

  it.each([
    [{ format: 'kivi' }, 'scheme.format: "kivi" is not "bitdecoding"'],
    [{ kAxis: 'token' }, 'scheme.kAxis: "token" is not "channel"'],
    [{ bits: 3 }, 'scheme.bits: 3 is not one of 4,2'],
    [{ group: 96 }, 'scheme.group: 96 is not one of 128,64,32'],
  ])('refuses %o', (change, message) => {
    expect(schemeError({ ...scheme, ...change } as Scheme, good)).toBe(message);
  });

  it('refuses a head size that the record layout does not have', () => {
    const p = { ...good, headSize: 64 };
    expect(schemeError(scheme, p)).toBe('problem.headSize: 64 is not one of 128');
  });
});

describe('index arithmetic', () => {
  it('concatenates requests of different lengths', () => {
    expect(firstTokens(good)).toEqual([0, 3, 3, 203]);
  });

  it('copies one head out of (tokens, kvHeads, headSize)', () => {
    const p = { tokens: [3], queryHeads: 2, kvHeads: 2, headSize: 2 };
    const x = Uint16Array.from({ length: 12 }, (_, i) => i);
    expect([...headRows(p, x, 1, 1, 2)]).toEqual([6, 7, 10, 11]);
  });
});
