// The generator is good enough to draw tensors: uniform bits, no correlation between neighbours.
import { describe, expect, it } from 'vitest';
import { below, derive, type Key, keyOf, normal, uniform, word } from './generator.js';

const COUNT = 1 << 16;

/**
 * Largest |z| over the 32 bits of how often `bit(i)` is set; z is standard normal if bits are fair.
 */
function worstBit(words: (i: number) => number): number {
  const set = new Array<number>(32).fill(0);
  for (let i = 0; i < COUNT; i++) {
    const w = words(i);
    for (let b = 0; b < 32; b++) set[b] += (w >>> b) & 1;
  }
  return Math.max(...set.map((n) => Math.abs(n - COUNT / 2) / Math.sqrt(COUNT / 4)));
}

// P(|z| > 5) is 6e-7 for one bit; the seeds are fixed, so a pass stays a pass.
const Z_MAX = 5;
const key: Key = keyOf(7, 1);

describe('words', () => {
  it('have fair bits along the index', () => {
    expect(worstBit((i) => word(key, i))).toBeLessThan(Z_MAX);
  });

  it.each([
    ['the index', (i: number) => word(key, i + 1)],
    ['the seed', (i: number) => word(keyOf(8, 1), i)],
    ['the stream', (i: number) => word(keyOf(7, 2), i)],
    ['a coordinate', (i: number) => word(derive(key, 0), i)],
  ])('change in half of their bits with %s', (_name, other) => {
    expect(worstBit((i) => word(key, i) ^ other(i))).toBeLessThan(Z_MAX);
  });

  it('have fair bits along a coordinate and along the seed', () => {
    expect(worstBit((i) => word(derive(key, i), 0))).toBeLessThan(Z_MAX);
    expect(worstBit((i) => word(derive(derive(key, i), 5), 3))).toBeLessThan(Z_MAX);
    expect(worstBit((i) => word(keyOf(i, 1), 0))).toBeLessThan(Z_MAX);
  });

  it('do not repeat with swapped coordinates', () => {
    let equal = 0;
    for (let i = 0; i < 200; i++) {
      for (let j = 0; j < i; j++) {
        const a = word(derive(derive(key, i), j), 0);
        if (a === word(derive(derive(key, j), i), 0)) equal += 1;
      }
    }
    expect(equal).toBe(0);
  });
});

describe('variables', () => {
  it('uniform covers [-1, 1) evenly', () => {
    const cells = new Array<number>(64).fill(0);
    for (let i = 0; i < COUNT; i++) cells[Math.floor((uniform(key, i) + 1) * 32)] += 1;
    const expected = COUNT / 64;
    const chi2 = cells.reduce((sum, n) => sum + (n - expected) ** 2 / expected, 0);
    expect(chi2).toBeLessThan(63 + 5 * Math.sqrt(2 * 63));
  });

  it('normal has mean 0, variance 1 and the kurtosis of four uniforms', () => {
    let [m1, m2, m4] = [0, 0, 0];
    for (let i = 0; i < COUNT; i++) {
      const x = normal(key, i);
      m1 += x / COUNT;
      m2 += x ** 2 / COUNT;
      m4 += x ** 4 / COUNT;
    }
    expect(Math.abs(m1)).toBeLessThan(5 / Math.sqrt(COUNT));
    expect(Math.abs(m2 - 1)).toBeLessThan(0.03);
    expect(Math.abs(m4 / m2 ** 2 - 2.7)).toBeLessThan(0.05); // 3 - 1.2 / 4
  });

  it('below reaches every value and no other', () => {
    const seen = new Set(Array.from({ length: 2000 }, (_, i) => below(key, i, 16)));
    expect([...seen].sort((a, b) => a - b)).toEqual(Array.from({ length: 16 }, (_, i) => i));
  });
});
