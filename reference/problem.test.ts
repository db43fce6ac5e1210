// Tests of problem.ts and scheme.ts: what is refused, and in which words.
import { describe, expect, it } from 'vitest';
import {
  firstTokens,
  headRows,
  type Problem,
  problemError,
  queriesPerKvHead,
  queryRowCount,
  visibleTokens,
} from './problem.js';
import { gridCodeMax, type Scheme, schemeError } from './scheme.js';

const good: Problem = { tokens: [3, 0, 200], queryHeads: 6, kvHeads: 2, headSize: 128 };
const scheme: Scheme = { format: 'bitdecoding', kAxis: 'channel', bits: 4, group: 128 };
const plain: Scheme = { format: 'fp16', kAxis: 'channel', bits: 16, group: 128 };

describe('problemError', () => {
  it('accepts requests without tokens and any integer ratio of heads', () => {
    expect(problemError(good)).toBeNull();
    expect(problemError({ ...good, queryHeads: 64, kvHeads: 1 })).toBeNull();
    expect(problemError({ ...good, tokens: [2 ** 31 - 1], type: 'bf16' })).toBeNull();
  });

  it.each([
    [{ tokens: [] }, 'problem.tokens: empty, at least one request is required'],
    [{ tokens: [1, -1] }, 'problem.tokens[1]: -1 is not an integer from 0 to 2147483647'],
    [{ tokens: [1.5] }, 'problem.tokens[0]: 1.5 is not an integer from 0 to 2147483647'],
    [{ tokens: [Number.NaN] }, 'problem.tokens[0]: NaN is not an integer from 0 to 2147483647'],
    [{ tokens: [2 ** 31] }, 'problem.tokens[0]: 2147483648 is not an integer from 0 to 2147483647'],
    [{ tokens: 3 as never }, 'problem.tokens: not an array of lengths'],
    [{ queryHeads: 0 }, 'problem.queryHeads: 0 is not an integer from 1 to 2147483647'],
    [{ headSize: 0.5 }, 'problem.headSize: 0.5 is not an integer from 1 to 2147483647'],
    [{ kvHeads: 0 }, 'problem.kvHeads: 0 is not an integer from 1 to 2147483647'],
    [{ kvHeads: 4 }, 'problem.queryHeads: 6 is not a multiple of problem.kvHeads 4'],
    [{ queryTokens: 9 }, 'problem.queryTokens: 9 is not an integer from 1 to 8'],
    [{ queryTokens: 0 }, 'problem.queryTokens: 0 is not an integer from 1 to 8'],
    [{ type: 'f32' as 'fp16' }, 'problem.type: "f32" is not "fp16" or "bf16"'],
  ])('refuses %o', (change, message) => {
    expect(problemError({ ...good, ...change })).toBe(message);
  });
});

describe('schemeError', () => {
  it('accepts every width, axis and group at every head size, and the baseline', () => {
    for (const headSize of [64, 128, 256]) {
      const p = { ...good, headSize };
      for (const bits of [8, 4, 2] as const) {
        for (const group of [128, 64, 32] as const) {
          for (const kAxis of ['channel', 'token'] as const) {
            expect(schemeError({ ...scheme, kAxis, bits, group }, p)).toBeNull();
          }
        }
      }
      expect(schemeError(plain, p)).toBeNull();
    }
  });

  it('takes the whole head as a group of channels, and only there', () => {
    const whole = { ...scheme, group: 256 } as const;
    const p = { ...good, headSize: 256 };
    expect(schemeError({ ...whole, kAxis: 'token' }, p)).toBeNull();
    expect(schemeError(whole, p)).toBe('scheme.group: 256 is not one of 128,64,32');
    expect(schemeError({ ...whole, kAxis: 'token' }, good)).toBe(
      'scheme.group: 256 is not one of 128,64,32, or problem.headSize 128',
    );
  });

  it.each([
    [{ format: 'kivi' }, 'scheme.format: "kivi" is not "bitdecoding" or "fp16"'],
    [{ kAxis: 'head' }, 'scheme.kAxis: "head" is not "channel" or "token"'],
    [{ bits: 3 }, 'scheme.bits: 3 is not one of 4,2,8'],
    [{ bits: 16 }, 'scheme.bits: 16 is not one of 4,2,8'],
    [{ format: 'fp16' }, 'scheme.bits: 4 is not 16, as format "fp16" requires'],
    [{ ...plain, group: 32 }, 'scheme.group: 32 is not 128, as format "fp16" requires'],
    [
      { ...plain, kAxis: 'token' },
      'scheme.kAxis: "token" is not "channel", as format "fp16" requires',
    ],
    [{ group: 96 }, 'scheme.group: 96 is not one of 128,64,32'],
  ])('refuses %o', (change, message) => {
    expect(schemeError({ ...scheme, ...change } as Scheme, good)).toBe(message);
  });

  it('refuses a head size that the record layout does not have', () => {
    for (const s of [scheme, plain]) {
      const p = { ...good, headSize: 96 };
      expect(schemeError(s, p)).toBe('problem.headSize: 96 is not one of 128,64,256');
    }
  });
});

describe('codes that a grid may have', () => {
  it('are those of the format, and 0 to 15 of rows that are kept as they came', () => {
    expect(gridCodeMax({ ...scheme, bits: 2 })).toBe(3);
    expect(gridCodeMax({ ...scheme, bits: 8 })).toBe(255);
    expect(gridCodeMax(plain)).toBe(15);
  });
});

describe('index arithmetic', () => {
  it('concatenates requests of different lengths', () => {
    expect(firstTokens(good)).toEqual([0, 3, 3, 203]);
  });

  it('counts rows and the tokens that each query token sees', () => {
    const p = { ...good, tokens: [0, 2, 200], queryTokens: 3 };
    expect([queryRowCount(good), queryRowCount(p), queriesPerKvHead(good)]).toEqual([18, 54, 3]);
    expect(visibleTokens(good)).toEqual([3, 0, 200]);
    expect(visibleTokens(p)).toEqual([0, 0, 0, 0, 1, 2, 198, 199, 200]);
  });

  it('copies one head out of (tokens, kvHeads, headSize)', () => {
    const p = { tokens: [3], queryHeads: 2, kvHeads: 2, headSize: 2 };
    const x = Uint16Array.from({ length: 20 }, (_, i) => i);
    expect([...headRows(p, x, 1, 1, 2)]).toEqual([6, 7, 10, 11]);
  });
});
