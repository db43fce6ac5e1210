// Tests of block-simd.ts against block-math.ts: the same bits for every shape, and numbers
// that no product may hide.
import { describe, expect, it } from 'vitest';
import { type BlockMath, plainBlock } from './block-math.js';
import { openBlockMath } from './block-simd.js';
import { type Draw, draws } from './simulated/draw.js';

const stride = 128;

/** Numbers of many magnitudes, so that another order of sums gives other bits. */
function fill(x: Float64Array, draw: Draw): Float64Array {
  for (let i = 0; i < x.length; i++) x[i] = (draw.unit() - 0.5) * 2 ** Math.floor(40 * draw.unit());
  return x;
}

/** Both products of one shape; every run draws the same numbers. */
function products(p: BlockMath, queries: number, count: number, size: number, special?: number) {
  const draw = draws(queries * 1000 + count * 10 + size);
  const [rows, x] = [fill(p.array(128 * size), draw), fill(p.array(queries * size), draw)];
  const weights = fill(p.array(queries * stride), draw);
  const sums = fill(p.array(queries * size), draw);
  const out = p.array(queries * stride);
  if (special !== undefined) rows[(count - 1) * size + size - 1] = special;
  p.dot(rows, count, size, x, out, stride);
  p.addWeighted(rows, count, size, weights, stride, sums);
  const scores = Array.from({ length: queries }, (_, h) => {
    return Array.from(out.subarray(h * stride, h * stride + count));
  });
  return { scores, sums: Array.from(sums) };
}

const room = (queries: number, size: number) => 8 * (128 * size + 2 * queries * (size + stride));

describe('products in vectors', () => {
  const shapes = [1, 2, 3, 4, 7, 8].flatMap((queries) =>
    [1, 2, 3, 5, 31, 128].flatMap((count) =>
      [8, 64, 128, 256].map((size) => ({ queries, count, size })),
    ),
  );
  it('have the bits of the plain ones', () => {
    for (const { queries, count, size } of shapes) {
      const found = products(openBlockMath(room(queries, size)), queries, count, size);
      expect(found, `${queries} ${count} ${size}`).toEqual(
        products(plainBlock, queries, count, size),
      );
    }
  });

  it('are the plain ones for sizes that are no multiple of a vector', () => {
    for (const size of [1, 3, 20, 2056]) {
      const found = products(openBlockMath(room(3, size)), 3, 6, size);
      expect(found).toEqual(products(plainBlock, 3, 6, size));
    }
  });

  it.each([Number.NaN, Infinity, -Infinity])('pass %s on', (special) => {
    const found = products(openBlockMath(room(4, 64)), 4, 9, 64, special);
    expect(found).toEqual(products(plainBlock, 4, 9, 64, special));
    expect(found.scores[0][8]).not.toSatisfy(Number.isFinite);
    expect(found.scores[0][7]).toSatisfy(Number.isFinite);
    expect(found.sums[63]).not.toSatisfy(Number.isFinite);
    expect(found.sums[62]).toSatisfy(Number.isFinite);
  });

  it('are sums of products', () => {
    const p = openBlockMath(room(1, 8));
    const [rows, x, sums] = [p.array(8), p.array(8), p.array(8)];
    const out = p.array(4);
    rows.set([1, 2, 3, 4, 5, 6, 7, 8]);
    x.fill(2);
    sums.fill(100);
    p.dot(rows, 1, 8, x, out, 4);
    expect(out[0]).toBe(72);
    x[0] = 3;
    p.addWeighted(rows, 1, 8, x, 8, sums);
    expect(Array.from(sums)).toEqual([103, 106, 109, 112, 115, 118, 121, 124]);
  });

  it('leave sums as they are where there is no row', () => {
    const p = openBlockMath(room(1, 8));
    const sums = p.array(8).fill(5);
    p.addWeighted(p.array(8), 0, 8, p.array(8), 8, sums);
    expect(Array.from(sums)).toEqual(Array(8).fill(5));
  });

  it('find their memory cleared, whoever had it before', () => {
    openBlockMath(512).array(64).fill(7);
    expect(
      openBlockMath(512)
        .array(64)
        .every((x) => x === 0),
    ).toBe(true);
  });
});
