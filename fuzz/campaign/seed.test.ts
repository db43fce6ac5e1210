// Seeds: what is accepted, and that a draw depends on its seed and index alone.

import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { drawAt, parseSeed, streamOf } from './seed.js';

describe('a seed', () => {
  it('is a number when it has decimal digits only', () => {
    expect(parseSeed('1')).toEqual({ kind: 'seed', seed: 1 });
    expect(parseSeed('1234567')).toEqual({ kind: 'seed', seed: 1234567 });
  });
  it('is a git hash when it has 7 to 64 hexadecimal digits', () => {
    expect(parseSeed('75F4DC1')).toEqual({ kind: 'seed', seed: '75f4dc1' });
    expect(parseSeed('9'.repeat(40))).toEqual({ kind: 'seed', seed: '9'.repeat(40) });
  });
  it('is nothing else', () => {
    for (const text of ['', '-1', '1.5', 'abc', 'main', '0x10', ' 1', '1e3', 'g'.repeat(40)]) {
      expect(parseSeed(text), text).toMatchObject({ kind: 'error' });
    }
  });
});

describe('the stream of a case', () => {
  it('keeps its meaning: these are the values of version 1', () => {
    const first = (seed: number | string, index: number) => {
      const stream = streamOf(seed, index);
      return [stream.nextInt(), stream.nextInt(), stream.nextInt()];
    };
    expect(first(1, 0)).toMatchInlineSnapshot(`
      [
        -114702753,
        -394973986,
        -1659941085,
      ]
    `);
    expect(first(1, 1)).toMatchInlineSnapshot(`
      [
        1175896445,
        -851597504,
        15027302,
      ]
    `);
    expect(first('75f4dc1', 0)).toMatchInlineSnapshot(`
      [
        -1702912412,
        -1827062591,
        60720505,
      ]
    `);
  });
  it('does not depend on what was drawn before', () => {
    const numbers = fc.array(fc.integer(), { minLength: 5 });
    const forwards = [0, 1, 2].map((i) => drawAt(numbers, 9, i));
    const backwards = [2, 1, 0].map((i) => drawAt(numbers, 9, i)).reverse();
    expect(backwards).toEqual(forwards);
    expect(new Set(forwards.map(String)).size).toBe(3);
  });
  it('fills the range evenly', () => {
    const stream = streamOf(3, 0);
    const counts = new Array(16).fill(0);
    for (let i = 0; i < 16_000; i++) counts[stream.nextInt(0, 15)] += 1;
    // 1000 expected in each; 5 standard deviations of a binomial are 153.
    for (const n of counts) expect(Math.abs(n - 1000)).toBeLessThan(153);
  });
});
