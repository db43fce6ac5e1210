// Tests of ex2-approx.ts against what an H100 answered (80GB HBM3, driver 580, CUDA 13.0,
// 2026-11-24): a hash of all fractions, which native/mma/special_test.cpp holds too, and the error.
import { expect, it } from 'vitest';
import { ex2Error } from './arithmetic.js';
import { ex2Approx, ex2Fraction } from './ex2-approx.js';
import { exp2 } from './exp.js';
import { draws } from './simulated/draw.js';

const fractions = 2 ** 23;
const f32 = new Float32Array(1);
const words = new Uint32Array(f32.buffer);

/** FNV-1a of 64 bits over whole words, in halves of 32 bits. */
class Hash {
  private high = 0xcbf29ce4;
  private low = 0x84222325;

  add(word: number): void {
    const low = (this.low ^ word) >>> 0;
    // times 2^40 + 0x1b3
    const product = low * 0x1b3; // below 2^41
    this.high = (Math.imul(this.high, 0x1b3) + Math.floor(product / 2 ** 32) + (low << 8)) >>> 0;
    this.low = product >>> 0;
  }

  toString(): string {
    return [this.high, this.low].map((x) => x.toString(16).padStart(8, '0')).join('');
  }
}

it('has the bits of an H100 at every fraction', () => {
  const hash = new Hash();
  for (let i = 0; i < fractions; i++) {
    f32[0] = ex2Fraction(i);
    hash.add(words[0]);
  }
  expect(hash.toString()).toBe('bb093af6b6fa7edb');
});

it('has its anchors: 1 at 0 and for subnormals, exact at integers, 0 below -126', () => {
  const found = [0, -0, -1e-40, -1, -7, -126, -126.25, -200].map(ex2Approx);
  expect(found).toEqual([1, 1, 1, 2 ** -1, 2 ** -7, 2 ** -126, 0, 0]);
});

it('stays within the error that an open exponential is given, and uses half of it', () => {
  const draw = draws(5);
  let worst = 0;
  for (let i = 0; i < 300_000; i++) {
    const x = Math.fround(-126 * draw.unit() * (i % 2 === 0 ? 1 : draw.unit() ** 8));
    const y = ex2Approx(x);
    if (y !== Math.fround(y)) throw new Error(`ex2(${x}) is no binary32`);
    worst = Math.max(worst, Math.abs(y / exp2(x) - 1));
  }
  expect(worst).toBeLessThanOrEqual(ex2Error);
  expect(worst).toBeGreaterThan(ex2Error / 2);
});
