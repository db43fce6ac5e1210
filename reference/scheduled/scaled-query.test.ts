// Tests of scaled-query.ts: where the query is scaled to, and the factors that take it back.
import { describe, expect, it } from 'vitest';
import { exponentOf, f16Round } from '../format.js';
import { scaledQuery } from './scaled-query.js';

const { fround } = Math;
const scale = 0.08838834764831845;
const k2 = fround(fround(scale) * fround(Math.LOG2E));

/** The shift of each kind by the header. */
const cases = [
  // fp16: largest element, shift, top
  ['fp16', 1.5, -14, 14],
  ['fp16', 2 ** 13, -1, 14],
  ['fp16', 2 ** 14, 0, 14],
  ['fp16', 2 ** 15, 0, 15],
  ['fp16', 65504, 0, 15],
  ['fp16', 2 ** -24, -38, 14],
  ['fp16', 0, -38, 14],
  ['bf16', 1.5, -14, 14],
  ['bf16', 2 ** 15, 1, 14],
  ['bf16', 2 ** 127, 113, 14],
  ['bf16', 2 ** -112, -126, 14],
  ['bf16', 2 ** -113, -126, 14],
  ['bf16', 2 ** -130, -126, 14],
  ['bf16', 0, -126, 14],
] as const;

describe.each(cases)('a %s query up to %d', (type, largest, shift, top) => {
  const q = Float64Array.of(largest / 4, -largest, largest / 2);

  it('is scaled by a power of two, rounded to fp16', () => {
    const found = scaledQuery(scale, q, type);
    expect(found.own).toBe(q);
    expect(found.top).toBe(top);
    expect([...found.hat]).toEqual([...q].map((x) => f16Round(x * 2 ** -shift)));
    if (largest > 2 ** -113) expect(exponentOf(Math.abs(found.hat[1]))).toBe(top);
  });

  it('has the factors of that shift', () => {
    const found = scaledQuery(scale, q, type);
    expect(found.k2).toBe(k2);
    expect(found.zeroFactor).toBe(fround(k2 * 2 ** shift));
    expect(found.codeFactor).toBe(fround(k2 * 2 ** (shift + top)));
  });
});

it('a scale counts as binary32', () => {
  const q = Float64Array.of(1);
  expect(scaledQuery(0.1, q, 'fp16').k2).toBe(fround(fround(0.1) * fround(Math.LOG2E)));
});
